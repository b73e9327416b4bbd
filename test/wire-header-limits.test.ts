import { expect, test } from "vitest";
import { Greeter, MessageRequestSchema } from "../gen/example/greeter_pb.js";
import { fieldBytes } from "../src/grpc/header-limits.ts";
import { Code, ConnectError } from "../src/index.ts";
import { createServer } from "../src/server.ts";
import { fakeServer, outcomeOf, responseHeaders, scripted } from "./support/fake-server.ts";
import { encodeHeaders, type Header } from "./support/hpack.ts";
import { failureOf } from "./support/read.ts";
import { sessionHost } from "./support/session-host.ts";
import { control } from "./support/session-peer.ts";
import { message, request, watchedServer } from "./support/watched-server.ts";
import { data, dial, type Fields, Flag, frame, Http2Code, rst, Type } from "./support/wire.ts";

// The limits of headers and trailers, tested with a peer that writes and reads HTTP/2 frames.

/** The identifier of the setting (RFC 9113, 6.5.2). */
const SETTINGS_MAX_HEADER_LIST_SIZE = 6;

/** The HEADERS frame of a header list, and the CONTINUATION frames that it needs. */
function headerFrames(stream: number, list: readonly Header[], end = false): Buffer[] {
  const block = encodeHeaders(list);
  const frames: Buffer[] = [];
  for (let at = 0; at < block.length; at += 16_384) {
    const flags =
      (at + 16_384 >= block.length ? Flag.END_HEADERS : 0) |
      (at === 0 && end ? Flag.END_STREAM : 0);
    const type = at === 0 ? Type.HEADERS : Type.CONTINUATION;
    frames.push(frame(type, flags, stream, block.subarray(at, at + 16_384)));
  }
  return frames;
}

const many = (count: number, value = "1") =>
  Array.from({ length: count }, (_, n): Header => [`x-${n}`, value]);

const answer: readonly Header[] = [
  [":status", "200"],
  ["content-type", "application/grpc"],
];

const sizeOf = (fields: Fields = {}) =>
  Object.entries(fields).reduce((sum, [name, value]) => sum + fieldBytes(name, value), 0);

// ---- Our client.

test("our client announces in its SETTINGS that it takes 64 KiB of headers", async () => {
  await using world = await fakeServer(() => {});
  await world.expectServed();
  const { payload } = await world.peers[0]!.frame(Type.SETTINGS);
  const announced = new Map<number, number>();
  for (let at = 0; at < payload.length; at += 6) {
    announced.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
  }
  expect(announced.get(SETTINGS_MAX_HEADER_LIST_SIZE)).toBe(65_536);
});

test.each([
  [
    "response headers",
    "before a message",
    (s: number) => headerFrames(s, [...answer, ...many(127)]),
  ],
  [
    "response headers",
    "that also carry the status",
    (s: number) => headerFrames(s, [...answer, ["grpc-status", "0"], ...many(126)], true),
  ],
  [
    "trailers",
    "after the response headers",
    (s: number) => [
      responseHeaders(s),
      ...headerFrames(s, [["grpc-status", "0"], ...many(128)], true),
    ],
  ],
])(
  "129 %s %s exceed this client's limit of 128: the call fails, and others continue",
  async (what, _, frames) => {
    await using world = await fakeServer(({ peer, stream }) => peer.write(...frames(stream)));
    const { stillWorks } = await world.otherCall();
    for (const kind of ["unary", "chat"] as const) {
      const { error } = await outcomeOf[kind](world);
      expect(error?.code).toBe(Code.ResourceExhausted);
      expect(error?.rawMessage).toContain(`sent 129 ${what}: 128 are taken at most`);
    }
    expect(world.calls).toHaveLength(2);
    await stillWorks();
    await world.idle();
  },
);

test("our client accepts 128 response headers and 128 trailers, and 40 KB of each", async () => {
  for (const [count, value] of [
    [120, "1"],
    [10, "x".repeat(4000)],
  ] as const) {
    await using world = await fakeServer(({ peer, stream }) =>
      peer.write(
        ...headerFrames(stream, [...answer, ...many(count, value)]),
        data(stream, message("hello")),
        ...headerFrames(stream, [["grpc-status", "0"], ...many(count, value)], true),
      ),
    );
    expect(await outcomeOf.unary(world)).toEqual({ replies: ["hello"], error: undefined });
  }
});

test("ENHANCE_YOUR_CALM on a call with 150 headers is reported as too many headers, not as too many requests", async () => {
  await using world = await fakeServer(({ peer, stream }) =>
    peer.write(rst(stream, Http2Code.ENHANCE_YOUR_CALM)),
  );
  const headers = Object.fromEntries([...many(150), ["x-case", "1"]]);
  const error = await failureOf(world.client.sayHello({}, { headers }));
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.rawMessage).toMatch(
    /refused the call's 1[5-6]\d headers .*servers on Node take 128/,
  );
  const few = await failureOf(world.client.sayHello({}, scripted));
  expect(few.rawMessage).toContain("too many requests or resets");
  expect(world.calls).toHaveLength(2);
});

test("a session with 150 headers that the server resets fails without another attempt", async () => {
  await using host = await sessionHost((attachment) =>
    attachment.reset(Http2Code.ENHANCE_YOUR_CALM),
  );
  const headers = Object.fromEntries([...many(150), ["x-case", "1"]]);
  const error = await failureOf(host.client.chat({ headers }));
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.rawMessage).toContain("servers on Node take 128");
});

test.each([
  ["a header of 66 KB", [["x-large", "x".repeat(66_000)] as const], "66141"],
  ["200 KB of headers", many(50, "x".repeat(4000)), "201892"],
])("%s exceed this client's limit: the call fails, and others continue", async (_, list, bytes) => {
  await using world = await fakeServer(({ peer, stream }) =>
    peer.write(...headerFrames(stream, [...answer, ...list])),
  );
  const { stillWorks } = await world.otherCall();
  const { error } = await outcomeOf.chat(world);
  expect(error?.code).toBe(Code.ResourceExhausted);
  expect(error?.rawMessage).toContain(`a header list of ${bytes} bytes is over`);
  expect(error?.rawMessage).toContain("65536");
  await stillWorks();
  await world.idle();
});

test("a call with larger headers than the server announces fails with an error that names the server's limit", async () => {
  await using world = await fakeServer(() => {}, {
    settings: { [SETTINGS_MAX_HEADER_LIST_SIZE]: 4096 },
  });
  await world.expectServed();
  const headers = { "x-case": "1", "x-large": "x".repeat(4000) };
  for (const call of [
    world.client.sayHello({}, { headers }),
    world.client.chat({ headers }),
    world.client.collect({ headers }).finish(),
  ]) {
    const error = await failureOf(call as PromiseLike<unknown>);
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.rawMessage).toContain("over the server's SETTINGS_MAX_HEADER_LIST_SIZE 4096 B");
  }
  expect(world.calls).toEqual([]);
});

test("a session with larger headers than the server announces fails without a stream", async () => {
  await using host = await sessionHost(() => {}, {
    settings: { [SETTINGS_MAX_HEADER_LIST_SIZE]: 4096 },
  });
  const headers = { "x-case": "1", "x-large": "x".repeat(3500) };
  const error = await failureOf(host.client.chat({ headers }));
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.rawMessage).toContain("over the server's SETTINGS_MAX_HEADER_LIST_SIZE 4096 B");
  const other = await host.otherSession();
  await other.stillWorks();
  expect(host.hosted).toEqual([]);
});

test("a session that resumes at a server with a lower limit for headers fails without another attempt", async () => {
  let accepted = 0;
  await using host = await sessionHost(
    async (attachment) => {
      attachment.answer();
      await attachment.hears(1);
      accepted++;
      attachment.peer.socket.destroy();
    },
    {
      get settings() {
        return { [SETTINGS_MAX_HEADER_LIST_SIZE]: accepted === 0 ? 65_536 : 4096 };
      },
    },
  );
  const chat = host.client.chat({ headers: { "x-case": "1", "x-large": "x".repeat(4000) } });
  await chat.send({ content: "one" });
  const error = await failureOf(chat);
  expect([error.code, accepted]).toEqual([Code.ResourceExhausted, 1]);
});

const metadata = (list: readonly Header[]) =>
  control({
    case: "header",
    value: { entries: list.map(([name, value]) => ({ name, value })) } as never,
  });

test.each([
  ["150 fields", many(150), Code.ResourceExhausted, /128 are taken at most/],
  ["a line break", [["x-odd", "a\r\nb"] as const], Code.InvalidArgument, /not valid/],
  ["a letter past Latin-1", [["x-odd", "語"] as const], Code.InvalidArgument, /not valid/],
  ["a name with a space", [["x odd", "1"] as const], Code.InvalidArgument, /not valid/],
  ["a pseudo-header", [[":status", "404"] as const], Code.InvalidArgument, /not valid/],
])("a session with %s in the response headers fails", async (_, list, code, text) => {
  await using host = await sessionHost((attachment) => {
    attachment.answer({ "hawser-metadata": "later" });
    attachment.send(metadata(list), "one");
    attachment.end({ "grpc-status": "0", "hawser-sent": "1" });
  });
  const error = await failureOf(host.client.chat(scripted));
  expect(error.code).toBe(code);
  expect(error.rawMessage).toMatch(text);
});

test("our client gives the caller a server's metadata unchanged, even if gRPC does not allow it", async () => {
  const odd: Header[] = [
    ["x-odd", "caf\u00e9"],
    ["x-tab", "a\tb"],
    ["x!odd", "1"],
    ["x-odd-bin", "%%%"],
  ];
  await using world = await fakeServer(({ peer, stream }) =>
    peer.write(
      ...headerFrames(stream, [...answer, ...odd]),
      data(stream, message("hello")),
      ...headerFrames(stream, [["grpc-status", "0"], ...odd], true),
    ),
  );
  const seen: [string, string][][] = [];
  const note = (headers: Headers) => void seen.push([...headers]);
  await world.client.sayHello({}, { ...scripted, onHeader: note, onTrailer: note });
  expect(seen).not.toEqual([]);
  for (const headers of seen) expect(headers).toEqual(expect.arrayContaining(odd));
});

// ---- Our server.

const errors: [what: string, fail: () => ConnectError][] = [
  [
    "30 KB of details",
    () =>
      new ConnectError("no such room", Code.NotFound, { "x-room": "quay" }, [
        { desc: MessageRequestSchema, value: { content: "d".repeat(30_000) } },
      ]),
  ],
  [
    "a message that takes 60 KB in percent-encoding",
    () => new ConnectError("é".repeat(10_000), Code.NotFound),
  ],
  [
    "metadata of 70 KB",
    () => new ConnectError("no such room", Code.NotFound, { "x-large": "x".repeat(70_000) }),
  ],
];

const limits: [text: string, limit: number, announced: number | undefined][] = [
  ["announces no limit", 8000, undefined],
  ["announces 4096 B", 4096, 4096],
  ["announces 8192 B", 8000, 8192],
  ["announces 16384 B", 8000, 16_384],
  ["announces 32768 B", 32_768, 32_768],
  ["announces 65536 B", 65_536, 65_536],
  ["announces 1 MiB", 65_536, 2 ** 20],
];

test.each(limits)(
  "a client that %s gets trailers below %d B, with and without a message before them",
  async (_, limit, announced) => {
    let fail: () => ConnectError = errors[0]![1];
    const logged: unknown[] = [];
    await using server = createServer({
      logger: { error: (...words) => void logged.push(words) },
      routes: (router) =>
        router.service(Greeter, {
          sayHello() {
            throw fail();
          },
          async *chat() {
            yield {};
            throw fail();
          },
        }),
    });
    const { port } = await server.listen({ port: 0 });
    const settings: Record<number, number> =
      announced === undefined ? {} : { [SETTINGS_MAX_HEADER_LIST_SIZE]: announced };
    await using peer = await dial(port as number, { settings });
    let stream = 1;
    for (const [what, make] of errors) {
      fail = make;
      for (const method of ["SayHello", "Chat"]) {
        peer.write(request(stream, method), data(stream, message("hello"), true));
        const call = await peer.ended(stream);
        expect(sizeOf(call.trailers ?? call.headers)).toBeLessThan(limit);
        const code = what.startsWith("metadata") ? Code.ResourceExhausted : Code.NotFound;
        expect(call.status, `${method} with ${what}`).toBe(code);
        expect(call.message).not.toBe("");
        stream += 2;
      }
    }
    expect(logged).toHaveLength(2);
  },
);

test.each([
  ["announces no limit gets 65024 B of response headers", undefined, 65_024, true],
  ["announces 65536 B gets 60000 B of response headers", 65_536, 60_000, true],
  ["announces 8192 B gets RESOURCE_EXHAUSTED for 8000 B of response headers", 8192, 8000, false],
  ["announces 16384 B gets RESOURCE_EXHAUSTED for 8000 B of response headers", 16_384, 8000, false],
  ["announces 8192 B gets 7000 B of response headers", 8192, 7000, true],
])("a client that %s", async (_, announced, bytes, fits) => {
  const base = sizeOf({
    ":status": "200",
    "content-type": "application/grpc",
    "grpc-accept-encoding": "gzip",
  });
  const value = "x".repeat(bytes - base - fieldBytes("x-large", ""));
  await using server = createServer({
    logger: { error() {} },
    routes: (router) =>
      router.service(Greeter, {
        async *chat(_, { responseHeader }) {
          responseHeader.set("x-large", value);
          yield {};
        },
      }),
  });
  const { port } = await server.listen({ port: 0 });
  const settings: Record<number, number> =
    announced === undefined ? {} : { [SETTINGS_MAX_HEADER_LIST_SIZE]: announced };
  await using peer = await dial(port as number, { settings });
  peer.write(request(1, "Chat"));
  const call = await peer.ended(1);
  expect(call.status).toBe(fits ? 0 : Code.ResourceExhausted);
  expect(call.headers?.["x-large"]).toBe(fits ? value : undefined);
  if (!fits) expect(call.message).toMatch(/response headers are 8000 B .* over the 7488 B/);
});

test("our server refuses a request with 129 headers, names its limit of 128, and serves one with 128", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const ask = (stream: number, count: number) => {
    // Every request has six headers already.
    const more = Object.fromEntries(many(count - 6));
    peer.write(request(stream, "SayHello", more), data(stream, message("hello"), true));
  };
  ask(1, 129);
  const refused = await peer.ended(1);
  expect(refused.status).toBe(Code.ResourceExhausted);
  expect(refused.message).toContain("129 request headers: 128 are taken at most");
  ask(3, 128);
  expect((await peer.ended(3)).status).toBe(0);
});

test("a request that is not gRPC, with 129 headers, is refused with HTTP 431", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const more = Object.fromEntries([...many(123), ["content-type", "application/json"]]);
  peer.write(request(1, "SayHello", more, true));
  expect((await peer.ended(1)).headers?.[":status"]).toBe("431");
});

test("the response headers of a call to an unknown path of 60 KB stay below 8000 B", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(
    ...headerFrames(
      1,
      Object.entries({
        ":method": "POST",
        ":scheme": "http",
        ":path": `/${"p".repeat(60_000)}`,
        ":authority": "127.0.0.1",
        "content-type": "application/grpc",
      }),
      true,
    ),
  );
  const call = await peer.ended(1);
  expect(call.status).toBe(Code.Unimplemented);
  expect(sizeOf(call.headers)).toBeLessThan(8000);
});
