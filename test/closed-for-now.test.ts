/** Servers that take no calls for a while: their SETTINGS_MAX_CONCURRENT_STREAMS is 0. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport } from "../src/index.ts";
import { type FakeServer, fakeServer, listen } from "./support/fake-server.ts";
import { stillAt, until } from "./support/gate.ts";
import { failureOf } from "./support/read.ts";
import { Peer, settings, Type } from "./support/wire.ts";

/** The number of SETTINGS_MAX_CONCURRENT_STREAMS. */
const MAX_STREAMS = 3;
const NONE = { settings: { [MAX_STREAMS]: 0 } };

/** Has the server of `peer` announce that from now on it takes at most this number of calls at the same time. */
const allow = (peer: Peer | undefined, calls: number) =>
  peer?.write(settings({ [MAX_STREAMS]: calls }));

const hello = ({ client }: FakeServer, options = {}) => client.sayHello({ content: "hi" }, options);

/** Has the server take no calls on its first connection; our client knows. */
async function close(server: FakeServer): Promise<void> {
  const [peer] = server.peers as [Peer];
  allow(peer, 0);
  await peer.ping();
}

describe.each(["with its first SETTINGS", "later"])(
  "a server that announces that it takes no calls, %s,",
  (when) => {
    const started = async () => {
      const server = await fakeServer(() => {}, when === "later" ? {} : NONE);
      if (when === "later") {
        await server.expectServed();
        await close(server);
      }
      return server;
    };

    test("the server has calls wait until it takes calls, on the same connection", async () => {
      await using server = await started();
      const calls = Array.from({ length: 20 }, () => hello(server));
      await until("a connection is there", () => server.peers.length > 0);
      const [peer] = server.peers as [Peer];
      const requests = () => peer.frames.filter(({ type }) => type === Type.HEADERS).length;
      await stillAt(requests, 100);
      expect(requests()).toBe(when === "later" ? 1 : 0);
      allow(peer, 100);
      expect(await Promise.all(calls)).toHaveLength(20);
      expect(peer.socket.closed).toBe(false);
      expect(server.peers).toHaveLength(1);
    });

    test("the server has a call that waits end by its deadline, and by a cancel", async () => {
      await using server = await started();
      const controller = new AbortController();
      const late = failureOf(hello(server, { timeoutMs: 80 }));
      const cancelled = failureOf(hello(server, { signal: controller.signal }));
      const chat = server.client.chat();
      chat.send({ content: "one" }).catch(() => {});
      await until("a connection is there", () => server.peers.length > 0);
      controller.abort();
      chat.cancel();
      expect(await cancelled).toMatchObject({ code: Code.Canceled });
      expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
      expect(await late).toMatchObject({
        code: Code.DeadlineExceeded,
        rawMessage: "the deadline of 80 ms passed",
      });
      allow(server.peers[0], 100);
      await server.expectServed();
    });

    test("the server gets keepalive pings while a call waits, although no call is open", async () => {
      const keepalive = { intervalMs: 60 };
      const options = when === "later" ? { keepalive } : { ...NONE, keepalive };
      await using server = await fakeServer(() => {}, options);
      if (when === "later") {
        await server.expectServed();
        await close(server);
      }
      const waiting = hello(server);
      await until("a connection is there", () => server.peers.length > 0);
      const [peer] = server.peers as [Peer];
      const asked = () => peer.frames.some(({ type, flags }) => type === Type.PING && flags === 0);
      await until("a ping comes", asked);
      allow(peer, 1);
      await waiting;
    });

    test("the server gets one more connection, after a pause, and no third", async () => {
      await using server = await started();
      const began = performance.now();
      const call = hello(server);
      await until("there is a second connection", () => server.peers.length > 1);
      // The shortest pause between attempts to connect: 1 s, up to 20 % less.
      expect(performance.now() - began).toBeGreaterThan(700);
      if (when === "later") {
        // The new connection may lead to a server that takes calls.
        expect(await call).toMatchObject({ reply: "hi" });
        return;
      }
      // The pause that would follow is 1.6 s, up to 20 % more.
      expect(await stillAt(() => server.peers.length, 2_200)).toBe(2);
      allow(server.peers[1], 1);
      expect(await call).toMatchObject({ reply: "hi" });
      expect(server.peers.some(({ socket }) => socket.closed)).toBe(false);
    });
  },
);

test("calls that run on a connection continue when its server takes no more calls", async () => {
  await using server = await fakeServer(() => {});
  const running = await server.otherCall();
  await close(server);
  const waiting = hello(server);
  await running.stillWorks();
  expect(server.peers).toHaveLength(1);
  allow(server.peers[0], 1);
  expect(await waiting).toMatchObject({ reply: "hi" });
});

test("a streaming call gets a session when the server takes calls again", async () => {
  await using server = await fakeServer(() => {}, { ...NONE, sessions: true });
  const chat = server.client.chat();
  const sending = chat.send({ content: "one" });
  await until("a connection is there", () => server.peers.length > 0);
  const [peer] = server.peers as [Peer];
  await stillAt(() => peer.frames.length, 50);
  allow(peer, 2);
  await sending;
  const paths = () => [1, 3].map((stream) => peer.stream(stream).headers?.[":path"]);
  await until("both requests came", () => !paths().includes(undefined));
  expect(paths()).toEqual(["/hawser.v1.SessionService/Negotiate", "/example.Greeter/Chat"]);
  chat.cancel();
});

test("a server that takes no calls and closes each connection is dialled after pauses, not immediately", async () => {
  let connections = 0;
  await using listener = await listen((socket) => {
    connections++;
    const peer = new Peer(socket, "server", NONE);
    void peer.frame(Type.SETTINGS).then(() => socket.destroy());
  });
  await using transport = createTransport({ baseUrl: listener.url, sessions: false });
  const call = createClient(Greeter, transport).sayHello({}, { timeoutMs: 2_000 });
  const { code } = await failureOf(call);
  // The first attempt comes immediately, the second about 1 s later, the third 1.6 s after that.
  expect(connections).toBeGreaterThan(0);
  expect(connections).toBeLessThanOrEqual(3);
  expect([Code.DeadlineExceeded, Code.Unavailable]).toContain(code);
});

test("calls go to the second of two addresses if the first takes no calls", async () => {
  await using first = await fakeServer(() => {}, NONE);
  await using second = await fakeServer(() => {});
  await using transport = createTransport({ baseUrl: [first.url, second.url], sessions: false });
  const client = createClient(Greeter, transport);
  expect(await client.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
  expect(await client.sayHello({ content: "again" })).toMatchObject({ reply: "again" });
  expect([first.peers.length, second.peers.length]).toEqual([1, 1]);
});

/** A process starts within this time, even on a busy machine. */
const PROCESS = { timeout: 30_000 };

/** Runs a program whose only work is a call to a server that takes none for now. */
function callFromProcess(url: string, options: string) {
  const at = (file: string) => JSON.stringify(new URL(`../${file}`, import.meta.url).href);
  const program = `
    import { Greeter } from ${at("gen/example/greeter_pb.js")};
    import { createClient, createTransport } from ${at("src/index.ts")};
    const transport = createTransport({ baseUrl: "${url}", sessions: false });
    const call = createClient(Greeter, transport).sayHello({ content: "hi" }, ${options});
    console.log(await call.then(({ reply }) => reply, (error) => error.rawMessage));
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  return once(child, "close").then(([code]) => ({ code, output }));
}

test(
  "a program that has nothing but a waiting call runs until the call is served",
  PROCESS,
  async () => {
    await using server = await fakeServer(() => {}, NONE);
    const ended = callFromProcess(server.url, "{}");
    await until("the program has connected", () => server.peers.length > 0, PROCESS.timeout);
    await stillAt(() => server.peers[0]?.frames.length ?? 0, 300);
    allow(server.peers[0], 1);
    expect(await ended).toEqual({ code: 0, output: "hi\n" });
  },
);

test("a program whose call ended while the call waited exits", PROCESS, async () => {
  await using server = await fakeServer(() => {}, NONE);
  const ended = await callFromProcess(server.url, "{ timeoutMs: 200 }");
  expect(ended).toEqual({ code: 0, output: "the deadline of 200 ms passed\n" });
});
