import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { expect, test, vi } from "vitest";
import { openLink } from "../src/testing/link.ts";
import { run } from "./support/child.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { start } from "./support/world.ts";

// Each test starts a process, which takes its time where others are at work.
vi.setConfig({ testTimeout: 30_000 });

/** Expects that the careless client exits by itself and writes nothing to stderr; returns how its calls ended. */
async function survives(baseUrl: string, rounds: number): Promise<Record<string, number>> {
  await using client = run("careless-client", baseUrl, `${rounds}`);
  const endings = JSON.parse(await client.line()) as Record<string, number>;
  expect(await client.exit).toEqual({ code: 0, signal: null, stderr: "" });
  expect(Object.values(endings).reduce((sum, count) => sum + count, 0)).toBe(rounds);
  return endings;
}

/**
 * A gRPC server at the level of HTTP/2 that has no sessions and says so, answers each SayHello, and then does what the
 * test wants.
 */
async function server(after: (stream: ServerHttp2Stream, answered: number) => void) {
  const server = createServer();
  let answered = 0;
  server.on("sessionError", () => {});
  server.on("session", (session) => session.on("error", () => {}));
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {}).resume();
    if (headers[":path"]?.endsWith("/Negotiate")) {
      const unimplemented = { "content-type": "application/grpc", "grpc-status": "12" };
      stream.respond({ ":status": 200, ...unimplemented }, { endStream: true });
      return;
    }
    if (!headers[":path"]?.endsWith("/SayHello")) return;
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => {
      stream.sendTrailers({ "grpc-status": "0" });
      after(stream, ++answered);
    });
    stream.end(Buffer.alloc(5));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

test("a client that gets GOAWAY on an idle connection, and calls immediately, does not crash", async () => {
  await using peer = await server(({ session }) => session?.goaway());
  const endings = await survives(peer.url, 40);
  expect(endings.OK).toBeGreaterThan(20);
  expect(new Set([...Object.keys(endings), "OK", "Unavailable"]).size).toBe(2);
});

test("a client whose every connection is closed right after an answer does not die", async () => {
  await using peer = await server(({ session }) => session?.close());
  const endings = await survives(peer.url, 40);
  expect(endings.OK).toBeGreaterThan(20);
});

test("a client whose every connection is destroyed right after an answer does not die", async () => {
  await using peer = await server(({ session }) => session?.destroy());
  await survives(peer.url, 30);
});

test("a client whose every other connection is answered with an error does not die", async () => {
  await using peer = await server(({ session }, answered) => {
    session?.goaway([0, 11, 2, 7][answered % 4]);
    if (answered % 2) session?.destroy();
  });
  await survives(peer.url, 30);
});

test.each(["fin", "rst"] as const)(
  "a client whose connection is cut (%s) again and again does not die",
  async (kind) => {
    await using world = await start();
    await using link = await openLink({ host: "127.0.0.1", port: Number(new URL(world.url).port) });
    const client = survives(link.url, 40);
    let over = false;
    const ended = () => {
      over = true;
    };
    client.then(ended, ended);
    // Each time a little later, and always after the handshake: a connection that fails to open is not tried again immediately.
    for (let cut = 1; !over; cut++) {
      const from = link.down.delivered;
      const further = () => over || link.down.delivered > from + 200 * cut;
      await until("it has got further", further, 25_000);
      link.cut(kind);
    }
    const endings = await client;
    expect(endings.Unavailable).toBeGreaterThan(0);
  },
);

test("a client whose server does not run does not die", async () => {
  await using world = await start();
  await world.server.close();
  const endings = await survives(world.url, 2);
  expect(endings).toEqual({ Unavailable: 2 });
});

test("a client whose server closes during its calls does not die", async () => {
  let answered = 0;
  const waits = gate();
  await using world = await start({
    greeter: {
      async sayHello(_request, { signal }) {
        if (++answered < 10) return {};
        waits.open();
        await aborted(signal);
        return {};
      },
    },
  });
  const client = survives(world.url, 11);
  await waits.opened;
  await world.server.close({ graceMs: 20 });
  expect(await client).toEqual({ OK: 9, Unavailable: 2 });
});
