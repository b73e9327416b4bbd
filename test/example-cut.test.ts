import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { openCuttingProxy } from "../examples/terminal/cutting-proxy.ts";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport, type TransportOptions } from "../src/index.ts";
import { createServer, type ServerOptions } from "../src/server.ts";
import { example, startExampleServer } from "./support/program.ts";
import { next } from "./support/read.ts";
import { temporary } from "./support/temporary.ts";
import { certs } from "./support/tls.ts";

// Some tests start programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

const CHAT = ["--count", "60", "--interval", "20ms", "--cut-every", "200ms"];

test("a chat whose connection is cut again and again has each reply once and in order, and says what happened", async () => {
  await using server = await startExampleServer();
  await using chat = example("chat", "--url", server.url, ...CHAT);
  expect(await chat.ended).toBe(0);
  expect(chat.stdout).toBe(
    Array.from({ length: 60 }, (_, n) => `Server says: Received: Message ${n}\n`).join(""),
  );
  const [, states, cuts] =
    /^((?:chat: reconnecting…\nchat: resumed\n)+)chat: 60 messages sent, 60 replies, (\d+) connections cut meanwhile\n$/.exec(
      chat.stderr,
    ) ?? [];
  expect(states?.match(/resumed/g)).toHaveLength(Number(cuts));
});

test("a chat with --json says in JSON what happened to its connection", async () => {
  await using server = await startExampleServer();
  await using chat = example("chat", "--url", server.url, ...CHAT, "--json");
  expect(await chat.ended).toBe(0);
  const notes = chat.stderr
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(notes.slice(0, 2)).toEqual([{ state: "reconnecting" }, { state: "resumed" }]);
  expect(notes.at(-1)).toEqual({ sent: 60, replies: 60, cuts: (notes.length - 1) / 2 });
});

test.each<[name: string, server: Partial<ServerOptions>, client: Partial<TransportOptions>]>([
  ["http", {}, {}],
  ["unix", {}, {}],
  ["https", { tls: certs.server }, { tls: { ca: certs.ca } }],
])("a call over %s continues when its proxy cuts it", async (name, serving, calling) => {
  const folder = await temporary();
  await using server = createServer({
    routes: (router) =>
      router.service(Greeter, {
        async *chat(requests) {
          for await (const { content } of requests) yield { reply: content };
        },
      }),
    ...serving,
  });
  const place = name === "unix" ? { path: join(folder, "socket") } : { port: 0 };
  const { url } = await server.listen(place);
  await using proxy = await openCuttingProxy(url);
  expect(new URL(proxy.url).protocol).toBe(name === "https" ? "https:" : "http:");
  await using transport = createTransport({ baseUrl: proxy.url, ...calling });
  const chat = createClient(Greeter, transport).chat();
  await chat.send({ content: "before" });
  expect(await next(chat)).toMatchObject({ reply: "before" });
  expect(proxy.cuts).toBe(0);
  const resuming = new Promise<void>((resolve) => {
    chat.onState((state) => state === "resuming" && resolve());
  });
  proxy.cut();
  await resuming;
  await chat.send({ content: "after" });
  expect(await next(chat)).toMatchObject({ reply: "after" });
  expect(proxy.cuts).toBe(1);
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
  await rm(folder, { recursive: true });
});

test("a connection to a certificate of another machine cannot be cut: INVALID_ARGUMENT", async () => {
  await expect(openCuttingProxy("https://192.0.2.1:443")).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: expect.stringContaining("192.0.2.1 cannot be cut"),
  });
});
