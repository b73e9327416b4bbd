import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  Code,
  ConnectError,
  createServer,
  type ServerOptions,
  type ServiceImpl,
} from "../src/server.ts";
import { openLink } from "../src/testing/link.ts";
import { aborted, gate } from "./support/gate.ts";
import { example, startExampleServer } from "./support/program.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

/** A server in this process with handlers of the test, for `hawser` to call. */
async function serveHere(
  greeter: Partial<ServiceImpl<typeof Greeter>>,
  options?: Partial<ServerOptions>,
) {
  const routes: ServerOptions["routes"] = (router) => router.service(Greeter, greeter);
  const server = createServer({ routes, ...options });
  const { url, port } = await server.listen({ port: 0 });
  return Object.assign(server, { url, port });
}

/** Makes a file with this content, which is removed at the end of the test. */
async function fileWith(content: string | Uint8Array) {
  const folder = await mkdtemp(join(tmpdir(), "hawser-"));
  const path = join(folder, "text.txt");
  await writeFile(path, content);
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

const FIVE_REPLIES = Array.from({ length: 5 }, (_, i) => `Server says: Received: Message ${i}\n`);

test("chat --count 5 prints the five replies in order and exits 0", async () => {
  await using server = await startExampleServer();
  await using chat = example("chat", "--url", server.url, "--count", "5", "--interval", "0s");
  expect(await chat.ended).toBe(0);
  expect(chat.stdout).toBe(FIVE_REPLIES.join(""));
  expect(chat.stderr).toBe("");
});

test("chat prints each reply before the next message is sent", async () => {
  const heard = Array.from({ length: 3 }, () => gate());
  await using server = await serveHere({
    async *chat(requests) {
      let i = 0;
      for await (const { content } of requests) {
        yield { reply: `Received: ${content}` };
        await heard[i++]?.opened;
      }
    },
  });
  await using chat = example("chat", "--url", server.url, "--count", "3", "--interval", "10ms");
  for (const [i, { open }] of heard.entries()) {
    await chat.prints(new RegExp(`Received: Message ${i}\n$`));
    open();
  }
  expect(await chat.ended).toBe(0);
});

test("chat --count 0 half-closes immediately and ends without an error", async () => {
  await using server = await startExampleServer();
  await using chat = example("chat", "--url", server.url, "--count", "0");
  expect(await chat.ended).toBe(0);
  expect(chat.stdout).toBe("");
});

test("chat --json prints a JSON object for each reply", async () => {
  await using server = await startExampleServer();
  await using chat = example(
    "chat",
    "--url",
    server.url,
    "--count",
    "2",
    "--interval",
    "0s",
    "--json",
  );
  expect(await chat.ended).toBe(0);
  expect(
    chat.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toEqual([{ reply: "Received: Message 0" }, { reply: "Received: Message 1" }]);
});

test("chat without --count and without a terminal sends the lines of its stdin", async () => {
  await using server = await startExampleServer();
  await using chat = example("chat", "--url", server.url);
  chat.stdin.write("first\n\nthi");
  await chat.prints(/^Server says: Received: first\nServer says: Received: \n$/);
  chat.stdin.end("rd 🚢\r\nlast");
  expect(await chat.ended).toBe(0);
  expect(chat.stdout).toMatch(/Received: third 🚢\nServer says: Received: last\n$/);
});

test("the texts of a server cannot break the line or control the terminal", async () => {
  await using server = await serveHere({ sayHello: () => ({ reply: "a\nb\u001b[2J\u009bc" }) });
  await using hello = example("greeter", "hello", "--url", server.url);
  expect(await hello.ended).toBe(0);
  expect(hello.stdout).toBe("Server says: a\\nb\\u001b[2J\\u009bc\n");
});

test("hello sends one name and prints one reply", async () => {
  await using server = await startExampleServer();
  await using hello = example("greeter", "hello", "Ada", "--url", server.url);
  expect(await hello.ended).toBe(0);
  expect(hello.stdout).toBe("Server says: Hello, Ada\n");
});

test("subscribe --count 3 prints three notifications", async () => {
  await using server = await startExampleServer();
  await using subscribe = example(
    "greeter",
    "subscribe",
    "--url",
    server.url,
    "--count",
    "3",
    "--interval",
    "1ms",
  );
  expect(await subscribe.ended).toBe(0);
  expect(subscribe.stdout).toBe(
    "Server says: Notification 1\nServer says: Notification 2\nServer says: Notification 3\n",
  );
});

test("subscribe --json prints sequence, content and time", async () => {
  await using server = await startExampleServer();
  await using subscribe = example(
    "greeter",
    "subscribe",
    "--url",
    server.url,
    "--count",
    "1",
    "--json",
  );
  expect(await subscribe.ended).toBe(0);
  expect(JSON.parse(subscribe.stdout)).toEqual({
    sequence: "1",
    content: "Notification 1",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
  });
});

test("Ctrl-C ends a subscription at both ends, with exit code 130 and no error text", async () => {
  const cancelled = gate();
  await using server = await serveHere({
    async *subscribe(_request, { signal }) {
      yield { sequence: 1n, content: "one" };
      await aborted(signal);
      cancelled.open();
    },
  });
  await using subscribe = example("greeter", "subscribe", "--url", server.url);
  await subscribe.prints(/one\n/);
  subscribe.kill("SIGINT");
  await cancelled.opened;
  expect(await subscribe.ended).toBe(130);
  expect(subscribe.stderr).toBe("");
});

test("a command whose output is no longer read ends without an error text", async () => {
  await using server = await startExampleServer();
  await using subscribe = example("greeter", "subscribe", "--url", server.url, "--interval", "1ms");
  await subscribe.prints(/Notification 2\n/);
  subscribe.closeStdout();
  expect(await subscribe.ended).toBe(0);
  expect(subscribe.stderr).toBe("");
});

test("collect counts the lines of stdin", async () => {
  await using server = await startExampleServer();
  await using collect = example("greeter", "collect", "-", "--url", server.url);
  collect.stdin.end("one\ntwo\nжук\n");
  expect(await collect.ended).toBe(0);
  expect(collect.stdout).toBe("Server counted: 3 messages, 12 bytes\n");
});

test("collect counts the lines of a file", async () => {
  await using server = await startExampleServer();
  const lines = Array.from({ length: 50_000 }, (_, i) => `line ${i}`);
  await using file = await fileWith(lines.join("\n"));
  await using collect = example("greeter", "collect", file.path, "--url", server.url, "--json");
  expect(await collect.ended).toBe(0);
  expect(JSON.parse(collect.stdout)).toEqual({ count: 50_000, bytes: `${lines.join("").length}` });
});

test("a file that is missing, that is a folder, or that is not text is one line and exit code 1", async () => {
  await using server = await startExampleServer();
  await using binary = await fileWith(Buffer.from("good\nbad \xff\n", "latin1"));
  for (const [path, complaint] of [
    ["no-such-file.txt", "not_found: no such file: no-such-file.txt: check the path"],
    [tmpdir(), `invalid_argument: ${tmpdir()} is a directory: give the path of a file`],
    [binary.path, `invalid_argument: ${binary.path} is not UTF-8 at line 1 or soon after: `],
  ] as const) {
    await using collect = example("greeter", "collect", path, "--url", server.url);
    expect(await collect.ended).toBe(1);
    expect(collect.stdout).toBe("");
    expect(collect.stderr).toContain(`greeter: ${complaint}`);
    expect(collect.stderr.match(/\n/g)).toHaveLength(1);
  }
});

test("a server that does not run is one line with the address and the remedy, exit code 1", async () => {
  // Port 1 (tcpmux) has no server on any machine that runs tests.
  await using chat = example("chat", "--url", "http://127.0.0.1:1", "--count", "1");
  expect(await chat.ended).toBe(1);
  expect(chat.stdout).toBe("");
  expect(chat.stderr).toMatch(
    /^chat: unavailable: cannot reach 127\.0\.0\.1:1 \(ECONNREFUSED\): .*Start one with "npm start"\n$/,
  );
});

test("an error is printed as JSON with --json", async () => {
  await using chat = example("chat", "--url", "http://127.0.0.1:1", "--count", "1", "--json");
  expect(await chat.ended).toBe(1);
  expect(JSON.parse(chat.stderr)).toEqual({
    code: "unavailable",
    message: expect.stringContaining("127.0.0.1:1 (ECONNREFUSED)"),
    remedy: expect.stringContaining("npm start"),
  });
});

test("a server that is killed, and starts again without its sessions, ends a chat that waits for its stdin", async () => {
  await using server = await startExampleServer();
  await using chat = example("chat", "--url", server.url);
  chat.stdin.write("hello\n");
  await chat.prints(/Received: hello\n/);
  server.kill("SIGKILL");
  await server.ended;
  await using _again = await startExampleServer("--port", new URL(server.url).port);
  expect(await chat.ended).toBe(1);
  expect(chat.stderr).toMatch(
    /^chat: reconnecting…\nchat: aborted: the session was lost: another server process answered, .*\n$/,
  );
});

test("a connection that is lost to a server without sessions ends a chat that waits for its stdin", async () => {
  await using server = await serveHere(
    {
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: content };
      },
    },
    { sessions: false },
  );
  await using link = await openLink({ host: "127.0.0.1", port: server.port as number });
  await using chat = example("chat", "--url", link.url);
  chat.stdin.write("hello\n");
  await chat.prints(/hello\n/);
  link.cut();
  expect(await chat.ended).toBe(1);
  expect(chat.stderr).toMatch(/^chat: unavailable: .*127\.0\.0\.1:\d+.*\n$/);
});

test("a server that is closed during the call ends a collect that waits for its stdin", async () => {
  const begun = gate();
  await using server = await serveHere({
    async collect(requests, { signal }) {
      for await (const _request of requests) begun.open();
      await aborted(signal);
      return {};
    },
  });
  await using collect = example("greeter", "collect", "-", "--url", server.url);
  collect.stdin.write("hello\n");
  await begun.opened;
  await server.close({ graceMs: 0 });
  expect(await collect.ended).toBe(1);
  expect(collect.stderr).toMatch(/^greeter: unavailable: .*\n$/);
});

test("a server that ends the chat early: its replies are printed, then one line says so", async () => {
  await using server = await serveHere({
    async *chat(requests) {
      for await (const { content } of requests) {
        yield { reply: `${content}, and goodbye` };
        return;
      }
    },
  });
  await using chat = example("chat", "--url", server.url, "--count", "100", "--interval", "1h");
  expect(await chat.ended).toBe(1);
  expect(chat.stdout).toBe("Server says: Message 0, and goodbye\n");
  expect(chat.stderr).toBe(
    "chat: failed_precondition: the server ended the call before the last message was sent: " +
      "its log may say why\n",
  );
});

test("an error of the server is shown with its code, in one line", async () => {
  await using server = await serveHere({
    sayHello() {
      throw new ConnectError("name is on the list:\nsay another", Code.PermissionDenied);
    },
  });
  await using hello = example("greeter", "hello", "--url", server.url);
  expect(await hello.ended).toBe(1);
  expect(hello.stderr).toBe("greeter: permission_denied: name is on the list:\\nsay another\n");
});

test("--timeout ends a call that takes longer", async () => {
  await using server = await serveHere({
    async *subscribe(_request, { signal }) {
      await aborted(signal);
      yield* [];
    },
  });
  await using subscribe = example(
    "greeter",
    "subscribe",
    "--url",
    server.url,
    "--timeout",
    "100ms",
  );
  expect(await subscribe.ended).toBe(1);
  expect(subscribe.stderr).toMatch(
    /^greeter: deadline_exceeded: .*: give the call longer with --timeout\n$/,
  );
});
