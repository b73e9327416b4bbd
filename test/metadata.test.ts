import { decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import type { Greeter } from "../gen/example/greeter_pb.js";
import type { CallOptions, Client } from "../src/index.ts";
import { type HandlerContext, sendHeaders } from "../src/server.ts";
import { gate } from "./support/gate.ts";
import { all, next } from "./support/read.ts";
import { start } from "./support/world.ts";

/** 256 values, so that every base64 character and a padding occur. */
const BYTES = Uint8Array.from({ length: 256 }, (_, n) => n);

/** Handlers of every kind that keep what came and answer with headers and trailers. */
function corresponding() {
  const received: Headers[] = [];
  const note = (context: HandlerContext) => {
    received.push(context.requestHeader);
    context.responseHeader.set("x-leading", "from the server");
    context.responseHeader.append("x-twice", "one");
    context.responseHeader.append("x-twice", "two");
    context.responseHeader.set("x-leading-bin", encodeBinaryHeader(BYTES));
    context.responseTrailer.set("x-trailing", "at the end");
    context.responseTrailer.set("x-trailing-bin", encodeBinaryHeader(BYTES));
    return {};
  };
  return {
    received,
    greeter: {
      sayHello: (_: unknown, context: HandlerContext) => note(context),
      collect: async (_: unknown, context: HandlerContext) => note(context),
      async *subscribe(_: unknown, context: HandlerContext) {
        yield note(context);
      },
      async *chat(_: unknown, context: HandlerContext) {
        yield note(context);
      },
    },
  };
}

const kinds: Record<
  string,
  (greeter: Client<typeof Greeter>, options: CallOptions) => Promise<unknown>
> = {
  unary: (greeter, options) => greeter.sayHello({}, options),
  "server streaming": (greeter, options) => all(greeter.subscribe({}, options)),
  "client streaming": (greeter, options) => greeter.collect(options).finish(),
  bidirectional: (greeter, options) => all(greeter.chat(options)),
};

describe.each(Object.entries(kinds))("metadata, %s", (_, call) => {
  test("leading and trailing, text and binary, both ways", async () => {
    const { received, greeter } = corresponding();
    await using world = await start({ greeter });
    const leading = gate<Headers>();
    const trailing = gate<Headers>();
    const headers = new Headers({
      "x-from": "the client",
      "x-data-bin": encodeBinaryHeader(BYTES),
    });
    headers.append("x-twice", "one");
    headers.append("x-twice", "two");
    await call(world.greeter, { headers, onHeader: leading.open, onTrailer: trailing.open });

    const [there] = received;
    expect(there?.get("x-from")).toBe("the client");
    expect(there?.get("x-twice")).toBe("one, two");
    expect(decodeBinaryHeader(there?.get("x-data-bin") ?? "")).toEqual(BYTES);

    const here = await leading.opened;
    expect(here.get("x-leading")).toBe("from the server");
    expect(here.get("x-twice")).toBe("one, two");
    expect(decodeBinaryHeader(here.get("x-leading-bin") ?? "")).toEqual(BYTES);

    const end = await trailing.opened;
    expect(end.get("x-trailing")).toBe("at the end");
    expect(decodeBinaryHeader(end.get("x-trailing-bin") ?? "")).toEqual(BYTES);
  });
});

test("headers and trailers of a call object", async () => {
  const { greeter } = corresponding();
  await using world = await start({ greeter });
  for (const stream of [world.greeter.chat(), world.greeter.subscribe({})] as const) {
    expect((await stream.headers).get("x-leading")).toBe("from the server");
    await all<object>(stream);
    expect((await stream.trailers).get("x-trailing")).toBe("at the end");
  }
  const sink = world.greeter.collect();
  await sink.finish();
  expect((await sink.headers).get("x-leading")).toBe("from the server");
  expect((await sink.trailers).get("x-trailing")).toBe("at the end");
});

test("response headers arrive without anyone reading the replies", async () => {
  const end = gate();
  await using world = await start({
    greeter: {
      async *chat(_requests, { responseHeader }) {
        responseHeader.set("x-early", "yes");
        yield {};
        await end.opened;
      },
    },
  });
  const chat = world.greeter.chat();
  expect((await chat.headers).get("x-early")).toBe("yes");
  end.open();
  expect(await all(chat)).toHaveLength(1);
});

test("response headers leave while the handler waits for its second request", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests, { responseHeader }) {
        responseHeader.set("x-early", "yes");
        const heard = await all(requests);
        yield { reply: `${heard.length}` };
      },
    },
  });
  const chat = world.greeter.chat();
  await chat.send({});
  expect((await chat.headers).get("x-early")).toBe("yes");
  await chat.send({});
  chat.closeSend();
  expect(await all(chat)).toMatchObject([{ reply: "2" }]);
});

test("a client-streaming handler may set response headers until it answers", async () => {
  await using world = await start({
    greeter: {
      async collect(requests, { responseHeader }) {
        const { length } = await all(requests);
        responseHeader.set("x-count", `${length}`);
        return { count: length };
      },
    },
  });
  const sink = world.greeter.collect();
  for (let n = 0; n < 3; n++) await sink.send({});
  await sink.finish();
  expect((await sink.headers).get("x-count")).toBe("3");
});

test("response headers leave at sendHeaders, once", async () => {
  const end = gate();
  await using world = await start({
    greeter: {
      async *chat(_requests, context) {
        context.responseHeader.set("x-early", "yes");
        sendHeaders(context);
        sendHeaders(context);
        await end.opened;
        yield {};
      },
      async *subscribe(_request, context) {
        context.responseHeader.set("x-early", "yes");
        sendHeaders(context);
        await end.opened;
        yield {};
      },
      async collect(_requests, context) {
        context.responseHeader.set("x-early", "yes");
        sendHeaders(context);
        await end.opened;
        return {};
      },
    },
  });
  const chat = world.greeter.chat();
  expect((await chat.headers).get("x-early")).toBe("yes");
  const headers = gate<Headers>();
  const push = world.greeter.subscribe({}, { onHeader: headers.open });
  expect((await headers.opened).get("x-early")).toBe("yes");
  const sink = world.greeter.collect();
  expect((await sink.headers).get("x-early")).toBe("yes");
  end.open();
  await sink.finish();
  expect(await all(push)).toHaveLength(1);
  expect(await all(chat)).toHaveLength(1);
});

test("a handler may set trailers until its end", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests, { responseTrailer }) {
        let count = 0;
        for await (const _ of requests) {
          count++;
          yield {};
        }
        responseTrailer.set("x-count", `${count}`);
      },
    },
  });
  const chat = world.greeter.chat();
  for (let n = 0; n < 3; n++) {
    await chat.send({});
    await next(chat);
  }
  chat.closeSend();
  await all(chat);
  expect((await chat.trailers).get("x-count")).toBe("3");
});

test("the user agent names Hawser; te is trailers", async () => {
  const { received, greeter } = corresponding();
  await using world = await start({ greeter });
  await world.greeter.sayHello({});
  expect(received[0]?.get("user-agent")).toMatch(/hawser/i);
  expect(received[0]?.get("te")).toBe("trailers");
});

test("headers that a connection keeps for itself are not sent, and do no harm", async () => {
  const { received, greeter } = corresponding();
  await using world = await start({ greeter });
  const headers = {
    connection: "close",
    "transfer-encoding": "chunked",
    upgrade: "websocket",
    "content-length": "7",
    "content-type": "text/plain",
    "x-mine": "1",
  };
  await world.greeter.sayHello({}, { headers });
  expect(received[0]?.get("x-mine")).toBe("1");
  expect(received[0]?.get("connection")).toBeNull();
  expect(received[0]?.get("content-type")).toMatch(/^application\/grpc/);
});

test.each(["onHeader", "onTrailer"])(
  "an %s that throws fails its call, and nothing else",
  async (name) => {
    await using world = await start();
    const options = {
      [name]() {
        throw new Error("a bug of the caller's");
      },
    };
    const { greeter } = world;
    const calls = [
      () => greeter.sayHello({}, options),
      () => all(greeter.subscribe({ count: 2, interval: {} }, options)),
      () => greeter.collect(options).finish(),
      () => {
        const chat = greeter.chat(options);
        chat.closeSend();
        return all(chat);
      },
    ];
    for (const call of calls) await expect(call()).rejects.toThrow("a bug of the caller's");
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  },
);
