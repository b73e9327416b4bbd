/** When response headers are sent, and the error of a handler that changes them later. */
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import type * as grpc from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import type { Interceptor } from "../src/index.ts";
import {
  Code,
  type HandlerContext,
  holdHeaders,
  type ServiceImpl,
  sendHeaders,
} from "../src/server.ts";
import { gate, settles } from "./support/gate.ts";
import { grpcJsClient } from "./support/grpc-js.ts";
import { all, failureOf } from "./support/read.ts";
import { certs } from "./support/tls.ts";
import { request } from "./support/watched-server.ts";
import { data, dial, dialSecurely, envelope } from "./support/wire.ts";
import { start } from "./support/world.ts";

type Handlers = Partial<ServiceImpl<typeof Greeter>>;

const passing: Interceptor = (next) => (request) => next(request);
const servers = { "without interceptors": {}, "with interceptors": { interceptors: [passing] } };

/** Longer than the 50 ms that headers wait for a first request. */
const LATER_MS = 200;

const later = () => new Promise((resolve) => setTimeout(resolve, LATER_MS));

/** Whether the headers arrive within that time. */
async function areHere(headers: Promise<Headers>): Promise<boolean> {
  let here = false;
  headers.then(() => {
    here = true;
  });
  return await settles(() => here, LATER_MS);
}

describe.each(Object.entries(servers))("%s, response headers", (_, server) => {
  test("response headers are sent for a client that waits for them before it sends", async () => {
    await using world = await start({
      server,
      greeter: {
        async *chat(requests, { responseHeader }) {
          responseHeader.set("x-early", "yes");
          for await (const { content } of requests) yield { reply: content };
        },
      },
    });
    const openedAt = performance.now();
    const chat = world.greeter.chat();
    expect((await chat.headers).get("x-early")).toBe("yes");
    // Timers count in whole milliseconds.
    expect(performance.now() - openedAt).toBeGreaterThan(48);
    await chat.send({ content: "now" });
    chat.closeSend();
    expect(await all(chat)).toMatchObject([{ reply: "now" }]);
  });

  test.each(["before it reads", "while it reads"])(
    "response headers wait for the first request of a handler that holds them %s, however long it takes",
    async (when) => {
      await using world = await start({
        server,
        greeter: {
          async *chat(requests, context) {
            if (when === "before it reads") holdHeaders(context);
            const first = requests[Symbol.asyncIterator]().next();
            if (when === "while it reads") holdHeaders(context);
            const { value } = await first;
            context.responseHeader.set("x-first", value?.content ?? "");
            yield {};
          },
        },
      });
      const chat = world.greeter.chat();
      expect(await areHere(chat.headers)).toBe(false);
      await chat.send({ content: "here" });
      chat.closeSend();
      expect(await all(chat)).toHaveLength(1);
      expect((await chat.headers).get("x-first")).toBe("here");
    },
  );

  test("wait for a handler that has its first request", async () => {
    const [received, end] = [gate(), gate()];
    await using world = await start({
      server,
      greeter: {
        async *chat(requests, { responseHeader }) {
          const { value } = await requests[Symbol.asyncIterator]().next();
          received.open();
          await end.opened;
          responseHeader.set("x-late", value?.content ?? "");
          yield {};
        },
      },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "first" });
    await received.opened;
    expect(await areHere(chat.headers)).toBe(false);
    end.open();
    expect((await chat.headers).get("x-late")).toBe("first");
    await all(chat);
  });

  test("wait for a handler whose client half-closed and sent nothing", async () => {
    const end = gate();
    await using world = await start({
      server,
      greeter: {
        async *chat(requests, { responseHeader }) {
          for await (const _ of requests);
          await end.opened;
          responseHeader.set("x-late", "yes");
          yield {};
        },
      },
    });
    const chat = world.greeter.chat();
    chat.closeSend();
    expect(await areHere(chat.headers)).toBe(false);
    end.open();
    expect((await chat.headers).get("x-late")).toBe("yes");
    await all(chat);
  });

  test("wait for the answer of a client-streaming handler, however long its first request takes", async () => {
    await using world = await start({
      server,
      greeter: {
        async collect(requests, { responseHeader }) {
          const { length } = await all(requests);
          responseHeader.set("x-count", `${length}`);
          return {};
        },
      },
    });
    const sink = world.greeter.collect();
    expect(await areHere(sink.headers)).toBe(false);
    await sink.send({});
    await sink.finish();
    expect((await sink.headers).get("x-count")).toBe("1");
  });
});

test.each([
  ["", {}, dial],
  [" over TLS", { tls: certs.server }, (port: number) => dialSecurely(port, certs.ca)],
])(
  "a first request that came%s while the server was busy counts as in time",
  async (_, server, dial) => {
    const [waiting, answered] = [gate(), gate<string>()];
    await using world = await start({
      server,
      greeter: {
        async *chat(requests, { responseHeader }) {
          const first = requests[Symbol.asyncIterator]().next();
          waiting.open();
          await first;
          responseHeader.set("x-first", "here");
          answered.open("set");
          yield {};
        },
      },
    });
    await using peer = await dial(Number(new URL(world.url).port));
    peer.write(request(1, "Chat"));
    await waiting.opened;
    // The request is on its way into the socket's buffer when the server stops to look.
    peer.write(data(1, envelope(Buffer.alloc(0)), true));
    const busyUntil = performance.now() + LATER_MS;
    while (performance.now() < busyUntil);
    expect(await answered.opened).toBe("set");
    expect((await peer.ended(1)).headers?.["x-first"]).toBe("here");
  },
);

test("a grpc-js client that waits for headers before it writes is served", async () => {
  await using world = await start();
  const client = grpcJsClient(Greeter, new URL(world.url).host);
  const chat: grpc.ClientDuplexStream<object, { reply: string }> = client.chat();
  await new Promise((resolve) => chat.once("metadata", resolve));
  const reply = new Promise<{ reply: string }>((resolve) => chat.once("data", resolve));
  chat.write({ content: "now" });
  chat.end();
  expect(await reply).toMatchObject({ reply: "Received: now" });
  await new Promise((resolve) => chat.once("end", resolve).resume());
  client.close();
});

/** Returns the error of each way of changing the headers. */
function changes({ responseHeader }: HandlerContext): unknown[] {
  const ways = [
    () => responseHeader.set("x-late", "1"),
    () => responseHeader.append("x-early", "1"),
    () => responseHeader.delete("x-early"),
  ];
  return ways.map((change) => {
    try {
      return change();
    } catch (error) {
      return error;
    }
  });
}

interface Leaving {
  /** The cause that the error names. */
  readonly left: string;
  /** Holds the handler until the headers are sent. */
  readonly chat: ServiceImpl<typeof Greeter>["chat"];
}

const leavings: Leaving[] = [
  {
    left: "at sendHeaders()",
    async *chat(_requests, context) {
      sendHeaders(context);
      yield* [];
    },
  },
  {
    left: "with the first response",
    async *chat() {
      yield {};
    },
  },
  {
    left: "when the handler waited for its second request",
    async *chat(requests) {
      for await (const _ of requests);
      yield* [];
    },
  },
  {
    left: "when no request had come for 50 ms",
    async *chat(requests) {
      await requests[Symbol.asyncIterator]().next();
      yield* [];
    },
  },
];

describe.each(leavings)("response headers that left $left", ({ left, chat: leave }) => {
  test.each(
    Object.entries(servers).flatMap(([name, server]) => [
      { name, server, early: false },
      { name: `${name}, set before too`, server, early: true },
    ]),
  )(
    "response headers that were sent cannot be changed any more ($name)",
    async ({ server, early }) => {
      const thrown = gate<unknown[]>();
      await using world = await start({
        server,
        greeter: {
          async *chat(requests, context) {
            if (early) context.responseHeader.set("x-early", "0");
            yield* leave(requests, context);
            thrown.open(changes(context));
            context.responseTrailer.set("x-trailing", "1");
          },
        },
      });
      const chat = world.greeter.chat();
      const ours = all(chat);
      if (left.includes("50 ms")) await chat.headers;
      await chat.send({}).catch(() => {});
      if (left.includes("second")) await chat.headers;
      chat.closeSend();
      for (const error of await thrown.opened) {
        expect(error).toMatchObject({ code: Code.FailedPrecondition });
        expect(String(error)).toContain(`changes too late: the headers left ${left}`);
        expect(String(error)).toContain("set a trailer");
        expect(String(error).includes("holdHeaders")).toBe(left.includes("50 ms"));
      }
      await ours;
      const headers = await chat.headers;
      expect([headers.get("x-early"), headers.get("x-late")]).toEqual([early ? "0" : null, null]);
      expect((await chat.trailers).get("x-trailing")).toBe("1");
    },
  );
});

test("a handler that does not catch the error of a late header ends its call with it", async () => {
  await using world = await start({
    greeter: {
      async *subscribe(_request, { responseHeader }) {
        yield {};
        responseHeader.set("x-late", "1");
      },
    },
  });
  const error = await failureOf(world.greeter.subscribe({}));
  expect(error.code).toBe(Code.FailedPrecondition);
  expect(error.rawMessage).toMatch(/"x-late".*with the first response.*responseTrailer/);
  expect(world.logged).toEqual([]);
});

test("a handler whose call was lost before its headers left may set them, without an effect", async () => {
  const set = gate<unknown[]>();
  await using world = await start({
    greeter: {
      async *chat(_requests, context) {
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        set.open(changes(context));
        yield* [];
      },
    },
  });
  const chat = world.greeter.chat({ sessions: false });
  await settles(() => world.server.openCalls === 1);
  chat.cancel();
  expect(await set.opened).toEqual([undefined, undefined, undefined]);
});

test("a late response header has no effect over Connect and gRPC-Web", async () => {
  const heard = gate<unknown[]>();
  const greeter: Handlers = {
    async *subscribe(_request, context) {
      yield { content: "first" };
      await later();
      heard.open(changes(context));
    },
  };
  await using world = await start({ greeter });
  for (const createTransport of [createConnectTransport, createGrpcWebTransport]) {
    const transport = createTransport({ baseUrl: world.url, httpVersion: "1.1" });
    const client = createClient(Greeter, transport);
    expect(await all(client.subscribe({}))).toHaveLength(1);
    expect(await heard.opened).toEqual([undefined, undefined, undefined]);
  }
});
