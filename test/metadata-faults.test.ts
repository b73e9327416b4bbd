/** Metadata that gRPC does not allow, and callbacks that throw: which call ends, and with what. */
import { expect, test } from "vitest";
import { Code, ConnectError, type Interceptor } from "../src/index.ts";
import { type HandlerContext, sendHeaders } from "../src/server.ts";
import { callsOfEachKind } from "./support/calls-of-each-kind.ts";
import { aborted } from "./support/gate.ts";
import { corresponding } from "./support/metadata.ts";
import { inPage } from "./support/mode.ts";
import { all, failureOf } from "./support/read.ts";
import { start } from "./support/world.ts";

const notAllowed: [what: string, headers: HeadersInit, named: string][] = [
  ["a header of the connection", { connection: "close" }, '"connection"'],
  [
    "several headers of the connection",
    { te: "trailers", Upgrade: "websocket" },
    '"te", "upgrade"',
  ],
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
    for (const call of Object.values(callsOfEachKind)) {
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

test("a header that an interceptor adds, and gRPC does not allow, fails the call as a header of the caller does", async () => {
  const { received, greeter } = corresponding();
  const interceptors: Interceptor[] = [
    (next) => (request) => {
      request.header.set("te", "gzip");
      return next(request);
    },
  ];
  await using world = await start({ greeter, transport: { interceptors } });
  for (const call of Object.values(callsOfEachKind)) {
    const error = await failureOf(call(world.greeter, {}));
    expect([error.code, error.rawMessage]).toEqual([
      Code.InvalidArgument,
      expect.stringContaining('"te"'),
    ]);
  }
  expect(received).toEqual([]);
});

const faults: [what: string, set: (context: HandlerContext) => void, named: string][] = [
  [
    "response headers that HTTP/2 reserves",
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
    "a trailer that gRPC reserves",
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
  "a handler that sends %s ends its call with INTERNAL that names the field, logged once",
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
    for (const call of Object.values(callsOfEachKind)) {
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

// A page does not wait for what a callback of the test throws.
test.skipIf(inPage).each(["onHeader", "onTrailer"])(
  "an %s that throws fails its call, and no other",
  async (name) => {
    await using world = await start();
    const options = {
      [name]() {
        throw new Error("a bug of the caller");
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
    for (const call of calls) await expect(call()).rejects.toThrow("a bug of the caller");
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  },
);
