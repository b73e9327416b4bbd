/** Handlers of duplex() in Hawser's server over each protocol, with interceptors, and in Connect's own hosts. */
import { createRouterTransport, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { createServer, duplex, type Interceptor, type ServiceImpl } from "../src/server.ts";
import { aborted, gate, stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { closeAll, connectNode, open } from "./support/three-servers.ts";

afterEach(closeAll);

type Handlers = Partial<ServiceImpl<typeof Greeter>>;

const passing: Interceptor = (next) => (request) => next(request);

async function hawser(handlers: Handlers, interceptors: Interceptor[] = []): Promise<string> {
  const server = createServer({
    routes: (router) => router.service(Greeter, handlers),
    interceptors,
    logger: { error() {} },
  });
  open.push(() => server.close({ graceMs: 0 }));
  return (await server.listen({ port: 0 })).url;
}

function grpc(baseUrl: string): Transport {
  const transport = createTransport({ baseUrl });
  open.push(() => transport.close());
  return transport;
}

const hosts: Record<string, (handlers: Handlers) => Promise<Transport>> = {
  "Hawser over gRPC": async (handlers) => grpc(await hawser(handlers)),
  "Hawser over gRPC, with an interceptor": async (handlers) =>
    grpc(await hawser(handlers, [passing])),
  "Hawser over Connect": async (handlers) =>
    createConnectTransport({ baseUrl: await hawser(handlers), httpVersion: "2" }),
  "Hawser over gRPC-Web": async (handlers) =>
    createGrpcWebTransport({ baseUrl: await hawser(handlers), httpVersion: "2" }),
  connectNodeAdapter: async (handlers) => grpc((await connectNode(handlers)).url),
  createRouterTransport: async (handlers) =>
    createRouterTransport((router) => router.service(Greeter, handlers)),
};

describe.each(Object.entries(hosts))("%s", (_, host) => {
  const start = async (chat: ServiceImpl<typeof Greeter>["chat"]) =>
    createClient(Greeter, await host({ chat }));

  test("a handler reads in one place and sends in another", async () => {
    const go = gate();
    const greeter = await start(
      duplex(async ({ requests, send }) => {
        const sending = (async () => {
          await go.opened;
          for (let n = 0; n < 100; n++) await send({ reply: `${n}` });
        })();
        let read = 0;
        for await (const _ of requests) if (++read === 3) go.open();
        await sending;
        await send({ reply: `read ${read}` });
      }),
    );
    const chat = greeter.chat();
    for (let n = 0; n < 50; n++) void chat.send({ content: `${n}` });
    chat.closeSend();
    const replies = (await all(chat)).map(({ reply }) => reply);
    expect(replies).toEqual([...Array.from({ length: 100 }, (_, n) => `${n}`), "read 50"]);
  });

  test("send() waits when the client does not read, and continues when it does", async () => {
    let sent = 0;
    const greeter = await start(
      duplex(async ({ send }) => {
        for (; sent < 10_000; sent++) await send({ reply: "x".repeat(64 * 1024) });
      }),
    );
    const chat = greeter.chat();
    await next(chat);
    const stoodAt = await stillAt(() => sent);
    // The buffers of the hosts differ: those of connectNodeAdapter take 80 MB.
    expect(stoodAt).toBeLessThan(3_000);
    for (let n = 0; n <= stoodAt; n++) await next(chat);
    await until("the handler continues", () => sent > stoodAt);
    chat.cancel();
  });

  test("a client that leaves aborts the signal, and what the handler sends then rejects", async () => {
    const ended = gate<ConnectError>();
    const greeter = await start(
      duplex(async ({ requests, send, signal }) => {
        await send({ reply: "first" });
        await aborted(signal);
        ended.open(await failureOf(send({ reply: "late" })));
        // They throw, or end: that is the host's.
        await all(requests);
      }),
    );
    const chat = greeter.chat();
    await chat.send({ content: "x" });
    for await (const _ of chat) break;
    expect(await ended.opened).toBeInstanceOf(ConnectError);
  });

  test("a handler that waits in send() continues, with an error, when the client leaves", async () => {
    const ended = gate<ConnectError>();
    const greeter = await start(
      duplex(async ({ send }) => {
        const sending = (async () => {
          for (;;) await send({ reply: "x".repeat(64 * 1024) });
        })();
        ended.open(await failureOf(sending));
      }),
    );
    const chat = greeter.chat();
    await next(chat);
    chat.cancel();
    expect(await ended.opened).toBeInstanceOf(ConnectError);
  });

  test("a handler that returns before the half-close ends the call with OK", async () => {
    const greeter = await start(
      duplex(async ({ requests, send }) => {
        for await (const { content } of requests) {
          await send({ reply: content });
          return;
        }
      }),
    );
    const chat = greeter.chat();
    await chat.send({ content: "one" });
    expect(await all(chat)).toMatchObject([{ reply: "one" }]);
    await chat.trailers;
  });

  test("the error that a handler throws arrives after what it has sent, with its details", async () => {
    const greeter = await start(
      duplex(({ send }) => {
        for (let n = 0; n < 40; n++) void send({ reply: `${n}` });
        throw new ConnectError("enough", Code.ResourceExhausted, { "x-why": "because" });
      }),
    );
    const chat = greeter.chat();
    for (let n = 0; n < 40; n++) expect(await next(chat)).toMatchObject({ reply: `${n}` });
    const { code, rawMessage, metadata } = await failureOf(chat);
    expect({ code, rawMessage, why: metadata.get("x-why") }).toEqual({
      code: Code.ResourceExhausted,
      rawMessage: "enough",
      why: "because",
    });
  });

  test("send() rejects after the handler has returned", async () => {
    const late = gate<ConnectError>();
    const greeter = await start(
      duplex(({ send, signal }) => {
        void aborted(signal).then(async () => late.open(await failureOf(send({ reply: "late" }))));
      }),
    );
    expect(await all(greeter.chat())).toEqual([]);
    expect((await late.opened).code).toBe(Code.FailedPrecondition);
  });
});
