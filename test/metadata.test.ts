import { decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import type { Greeter } from "../gen/example/greeter_pb.js";
import {
  type CallOptions,
  type Client,
  Code,
  ConnectError,
  type Interceptor,
} from "../src/index.ts";
import { type HandlerContext, sendHeaders } from "../src/server.ts";
import { aborted, gate } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
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

const notAllowed: [what: string, headers: HeadersInit, named: string][] = [
  ["a header of the connection", { connection: "close" }, '"connection"'],
  ["several of them", { te: "trailers", Upgrade: "websocket" }, '"te", "upgrade"'],
  ["a content-type", { "content-type": "text/plain" }, '"content-type"'],
  ["a header of gRPC", { "grpc-timeout": "1S" }, '"grpc-timeout"'],
  ["a header that gRPC may have one day", [["grpc-next", "secret"]], '"grpc-next"'],
  ["a header of sessions", { "hawser-session": "secret" }, '"hawser-session"'],
  ["a pseudo-header", { ":path": "/secret" }, '":path"'],
  ["a space in a name", [["x odd", "secret"]], '"x odd"'],
  ["a name that HTTP allows and gRPC does not", { "x!odd": "secret" }, '"x!odd"'],
  ["an empty name", { "": "secret" }, '""'],
  ["a control character", { "x-odd": "secret\u0001" }, '"x-odd"'],
  ["a tab", new Headers({ "x-odd": "secret\tsecret" }), '"x-odd"'],
  ["a line break", { "x-fine": "1", "x-odd": "secret\r\nsecret" }, '"x-odd"'],
  ["a letter that is not ASCII", { "x-odd": "secr\u00e9t" }, '"x-odd"'],
  ["a letter that is not in Latin-1", { "x-odd": "secret\u8a9e" }, '"x-odd"'],
  ["binary that is not base64", { "x-odd-bin": "secret!" }, '"x-odd-bin"'],
  ["base64 that is cut off", { "x-odd-bin": "AAAAA" }, '"x-odd-bin"'],
  ["base64 with too little padding", { "x-odd-bin": "AA=" }, '"x-odd-bin"'],
];

test.each(notAllowed)(
  "a call with %s fails with INVALID_ARGUMENT that names it, and is not sent",
  async (_, headers, named) => {
    const { received, greeter } = corresponding();
    await using world = await start({ greeter });
    for (const call of Object.values(kinds)) {
      const error = await failureOf(call(world.greeter, { headers }));
      expect(error.code).toBe(Code.InvalidArgument);
      expect(error.rawMessage).toContain(named);
      expect(error.rawMessage).not.toContain("secret");
    }
    const chat = world.greeter.chat({ headers });
    expect((await failureOf(chat.headers)).code).toBe(Code.InvalidArgument);
    expect((await failureOf(chat.send({}))).code).toBe(Code.InvalidArgument);
    expect(received).toEqual([]);
  },
);

test("a header that an interceptor adds, and gRPC does not allow, fails the call as one of the caller's", async () => {
  const { received, greeter } = corresponding();
  const interceptors: Interceptor[] = [
    (next) => (request) => {
      request.header.set("te", "gzip");
      return next(request);
    },
  ];
  await using world = await start({ greeter, transport: { interceptors } });
  for (const call of Object.values(kinds)) {
    const error = await failureOf(call(world.greeter, {}));
    expect([error.code, error.rawMessage]).toEqual([
      Code.InvalidArgument,
      expect.stringContaining('"te"'),
    ]);
  }
  expect(received).toEqual([]);
});

test.each([
  ["capitals in a name", { "X-Mine": "1" }, "x-mine", "1"],
  ["every character that gRPC allows in a name", { "0a_b-c.d": "1" }, "0a_b-c.d", "1"],
  ["an empty value", { "x-mine": "" }, "x-mine", ""],
  ["spaces around a value", { "x-mine": " 1 " }, "x-mine", "1"],
  ["padded base64", { "x-mine-bin": "AA==" }, "x-mine-bin", "AA=="],
  ["a user agent", { "user-agent": "mine/1" }, "user-agent", "mine/1"],
  ["a trace", { "grpc-trace-bin": "AAAA" }, "grpc-trace-bin", "AAAA"],
])("a call with %s is sent", async (_, headers, name, value) => {
  const { received, greeter } = corresponding();
  await using world = await start({ greeter });
  await world.greeter.sayHello({}, { headers });
  await all(world.greeter.chat({ headers }));
  expect(received.map((there) => there.get(name))).toEqual([value, value]);
});

const faults: [what: string, set: (context: HandlerContext) => void, named: string][] = [
  [
    "response headers of HTTP/2's own",
    ({ responseHeader }) => responseHeader.set("connection", "close"),
    '"connection"',
  ],
  [
    "a response header that is not ASCII",
    ({ responseHeader }) => responseHeader.set("x-odd", "secr\u00e9t"),
    '"x-odd"',
  ],
  [
    "a trailer that is not base64",
    ({ responseTrailer }) => responseTrailer.set("x-odd-bin", "secret!"),
    '"x-odd-bin"',
  ],
  [
    "a trailer of gRPC's own",
    ({ responseTrailer }) => responseTrailer.set("grpc-status", "0"),
    '"grpc-status"',
  ],
  [
    "an error whose metadata is not ASCII",
    () => {
      throw new ConnectError("no such room", Code.NotFound, { "x-odd": "secr\u00e9t" });
    },
    '"x-odd"',
  ],
];

test.each(faults)(
  "a handler with %s ends its call with INTERNAL that names it, logged once",
  async (_, set, named) => {
    await using world = await start({
      greeter: {
        sayHello(_, context) {
          set(context);
          return {};
        },
        async collect(_, context) {
          set(context);
          return {};
        },
        async *subscribe(_, context) {
          set(context);
          yield {};
        },
        async *chat(_, context) {
          set(context);
          yield {};
        },
      },
    });
    let count = 0;
    for (const call of Object.values(kinds)) {
      const error = await failureOf(call(world.greeter, {}));
      expect([error.code, error.rawMessage]).toEqual([
        Code.Internal,
        expect.stringContaining(named),
      ]);
      expect(error.rawMessage).not.toContain("secr");
      expect(world.logged).toHaveLength(++count);
      expect(String(world.logged.at(-1)?.[1])).toContain(named);
    }
  },
);

test("response headers that cannot be sent fail a call whose messages wait for them", async () => {
  await using world = await start({
    greeter: {
      async *chat(_, context) {
        context.responseHeader.set("x-odd", "secr\u00e9t");
        sendHeaders(context);
        await aborted(context.signal);
        yield {};
      },
      async *subscribe(_, { responseHeader, signal }) {
        responseHeader.set("x-odd", "secr\u00e9t");
        for (let sequence = 1n; !signal.aborted; sequence++) yield { sequence };
      },
    },
  });
  for (const stream of [world.greeter.chat(), world.greeter.subscribe({})] as const) {
    expect((await failureOf(stream)).code).toBe(Code.Internal);
  }
  expect(world.logged).toHaveLength(2);
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
