import { expect, it } from "vitest";
import { Code } from "../src/index.ts";
import {
  type FakeCall,
  type FakeServer,
  fakeServer,
  listen,
  outcomeOf,
  responseHeaders,
  scripted,
  trailers,
} from "./support/fake-server.ts";
import { message } from "./support/watched-server.ts";
import {
  data,
  Flag,
  frame,
  goaway,
  Http2Code,
  headers,
  PREFACE,
  rst,
  settings,
  Type,
  uint32,
  windowUpdate,
} from "./support/wire.ts";

// A stream or a connection that breaks at any point of a call fails the call immediately with an error that says so, and never ends it cleanly.

const hello = message("hello");
type CodeName = keyof typeof Http2Code;
const codeNames = Object.keys(Http2Code) as CodeName[];

/** The server's answer before the fault. */
const points: Record<string, (stream: number) => Buffer[]> = {
  "before the headers": () => [],
  "after the headers": (s) => [responseHeaders(s)],
  "within a message": (s) => [responseHeaders(s), data(s, hello), data(s, hello.subarray(0, 7))],
  "after a message": (s) => [responseHeaders(s), data(s, hello)],
};
const repliesAt = (point: string) => (point.includes("message") ? ["hello"] : []);

const meaning: Partial<Record<CodeName, Code>> = {
  CANCEL: Code.Canceled,
  REFUSED_STREAM: Code.Unavailable,
  ENHANCE_YOUR_CALM: Code.ResourceExhausted,
  INADEQUATE_SECURITY: Code.PermissionDenied,
};

for (const point of Object.keys(points)) {
  it.each(codeNames)(`a reset ${point}, with %s, fails the call`, async (name) => {
    await using world = await fakeServer(({ peer, stream }) =>
      peer.write(...points[point]!(stream), rst(stream, Http2Code[name])),
    );
    const { stillWorks } = await world.otherCall();
    const code = meaning[name] ?? Code.Internal;
    expect(await outcomeOf.unary(world)).toMatchObject({ error: { code } });
    expect(await outcomeOf.chat(world)).toMatchObject({
      error: { code },
      replies: repliesAt(point),
    });
    // Only what the server says that it never began is tried again.
    const again = name === "REFUSED_STREAM" && point === "before the headers";
    if (again) expect(world.calls.length).toBeGreaterThan(2);
    else expect(world.calls).toHaveLength(2);
    await stillWorks();
    await world.expectServed();
    await world.idle();
  });
}

/** Answers the second attempt well, and leaves the first to the test. */
function second(first: (call: FakeCall) => unknown): (call: FakeCall) => Promise<unknown> {
  let attempts = 0;
  return async (call) => {
    const { peer, stream, request } = call;
    // What was sent with the first attempt must be there at the second.
    await peer.until(() => request.bytes === hello.length);
    if (++attempts === 1) return await first(call);
    peer.write(responseHeaders(stream), data(stream, request.body), trailers(stream));
  };
}

it("a call that was refused once is tried again, with the messages that were sent", async () => {
  for (const kind of ["unary", "chat"] as const) {
    await using world = await fakeServer(
      second(({ peer, stream }) => peer.write(rst(stream, Http2Code.REFUSED_STREAM))),
    );
    expect(await outcomeOf[kind](world)).toEqual({ replies: ["hello"], error: undefined });
    expect(world.calls).toHaveLength(2);
  }
});

it.each<[string, CodeName, string]>([
  ["of a server that drains", "NO_ERROR", ""],
  ["for too many pings", "ENHANCE_YOUR_CALM", "too_many_pings"],
])(
  "a call above the last-stream-id of a GOAWAY %s is tried again on another connection",
  async (_, code, reason) => {
    for (const kind of ["unary", "chat"] as const) {
      await using world = await fakeServer(
        second(({ peer }) => {
          peer.write(goaway(0, Http2Code[code], reason));
          if (code !== "NO_ERROR") peer.socket.end();
        }),
      );
      expect(await outcomeOf[kind](world)).toEqual({ replies: ["hello"], error: undefined });
      expect(world.peers).toHaveLength(2);
      await world.idle();
    }
  },
);

it("of the calls of a connection that ends for too many pings, those above the last-stream-id of its GOAWAY are tried again, and no other", async () => {
  let arrived = 0;
  await using world = await fakeServer(async ({ peer, stream, request }) => {
    await peer.until(() => request.bytes === hello.length);
    if (peer !== world.peers[0]) {
      peer.write(responseHeaders(stream), data(stream, request.body), trailers(stream));
    } else if (++arrived === 4) {
      // The calls have the streams 1, 3, 5, 7.
      peer.write(goaway(3, Http2Code.ENHANCE_YOUR_CALM, "too_many_pings"));
      peer.socket.end();
    }
  });
  const calls = [outcomeOf.chat, outcomeOf.unary, outcomeOf.chat, outcomeOf.unary];
  const outcomes = await Promise.all(calls.map((call) => call(world)));
  const rawMessage = expect.stringContaining('GOAWAY with HTTP/2 error 11 "too_many_pings"');
  const failed = { replies: [], error: { code: Code.Unavailable, rawMessage } };
  const served = { replies: ["hello"], error: undefined };
  expect(outcomes).toMatchObject([failed, failed, served, served]);
  expect(world.calls.map(({ stream }) => stream)).toEqual([1, 3, 5, 7, 1, 3]);
  expect(world.peers).toHaveLength(2);
  await world.idle();
});

it("a call that a GOAWAY for too many pings excludes on each connection is tried three times again, and fails with UNAVAILABLE", async () => {
  await using world = await fakeServer(({ peer }) => {
    peer.write(goaway(0, Http2Code.ENHANCE_YOUR_CALM, "too_many_pings"));
    peer.socket.end();
  });
  expect(await outcomeOf.chat(world)).toMatchObject({ error: { code: Code.Unavailable } });
  expect(world.calls).toHaveLength(4);
  expect(world.peers).toHaveLength(4);
});

it("a call below the last-stream-id of a GOAWAY finishes on its connection; the next call goes to another", async () => {
  await using world = await fakeServer(async ({ peer, stream }) => {
    peer.write(responseHeaders(stream), goaway(2 ** 31 - 1, 0), data(stream, hello));
    await peer.ping();
    peer.write(goaway(stream, 0), data(stream, hello), trailers(stream));
  });
  expect(await outcomeOf.chat(world)).toEqual({ replies: ["hello", "hello"], error: undefined });
  await world.expectServed();
  expect(world.peers).toHaveLength(2);
});

it("calls that are made when a GOAWAY comes to an idle connection are served", async () => {
  for (let n = 0; n < 20; n++) {
    await using world = await fakeServer(() => {});
    await world.expectServed();
    const [peer] = world.peers;
    // From here on the first connection answers nothing, as it has said.
    peer!.onStream = () => {};
    peer!.write(goaway(1, 0));
    if (n % 2 === 0) peer!.socket.end();
    for (let turn = 0; turn < n / 2; turn++) await new Promise((next) => setImmediate(next));
    await Promise.all([world.expectServed(), world.expectServed()]);
  }
});

for (const point of Object.keys(points)) {
  it.each(codeNames)(
    `GOAWAY ${point}, with %s, and the end of the connection fail the call`,
    async (name) => {
      await using world = await fakeServer(({ peer, stream }) => {
        peer.write(...points[point]!(stream), goaway(stream, Http2Code[name], "enough"));
        peer.socket.end();
      });
      const { fails } = await world.otherCall();
      const { replies, error } = await outcomeOf.chat(world);
      expect(error).toMatchObject({ code: Code.Unavailable });
      expect(error?.rawMessage).toContain(new URL(world.url).host);
      expect(replies).toEqual(repliesAt(point));
      expect(await fails()).toMatchObject({ code: Code.Unavailable });
      expect(await outcomeOf.unary(world)).toMatchObject({ error: { code: Code.Unavailable } });
      await world.expectServed();
      await world.idle();
    },
  );

  it.each(["fin", "rst"])(`a connection that ends (%s) ${point} fails the call`, async (how) => {
    await using world = await fakeServer(async ({ peer, stream }) => {
      peer.write(...points[point]!(stream));
      // A TCP reset takes what the client has not read yet.
      await peer.ping();
      if (how === "fin") peer.socket.end();
      else peer.socket.resetAndDestroy();
    });
    const { fails } = await world.otherCall();
    const { replies, error } = await outcomeOf.chat(world);
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(error?.rawMessage).toContain(new URL(world.url).host);
    expect(replies).toEqual(repliesAt(point));
    expect(await fails()).toMatchObject({ code: Code.Unavailable });
    expect(await outcomeOf.unary(world)).toMatchObject({ error: { code: Code.Unavailable } });
    await world.expectServed();
    await world.idle();
  });
}

it.each<[string, (stream: number) => Buffer[]]>([
  ["garbage", () => [Buffer.alloc(64, 0xee)]],
  ["HTTP/1.1", () => [Buffer.from("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")]],
  ["DATA on stream 0", () => [data(0, hello)]],
  ["DATA on a stream that never was", () => [data(99, hello)]],
  ["a frame over the limit", (s) => [data(s, Buffer.alloc(16_385))]],
  ["settings of five bytes", () => [frame(Type.SETTINGS, 0, 0, Buffer.alloc(5))]],
  ["a ping of seven bytes", () => [frame(Type.PING, 0, 0, Buffer.alloc(7))]],
  ["a window past 2^31-1", () => [windowUpdate(0, 2 ** 31 - 1)]],
  ["a window update of nothing", () => [windowUpdate(0, 0)]],
  ["headers that refer to nothing", (s) => [frame(1, 4, s, Buffer.of(0xff, 0xff, 0x7f))]],
  ["headers within headers", (s) => [frame(1, 0, s, Buffer.of(0x88)), responseHeaders(s)]],
  [
    "more padding than frame",
    (s) => [responseHeaders(s), frame(0, Flag.PADDED, s, Buffer.of(9, 1))],
  ],
  ["a push promise", (s) => [frame(5, 4, s, Buffer.concat([uint32(2), Buffer.of(0x82)]))]],
])("a server that sends %s loses its connection", async (_, answer) => {
  for (const kind of ["unary", "chat"] as const) {
    await using world = await fakeServer(({ peer, stream }) => peer.write(...answer(stream)));
    const { fails } = await world.otherCall();
    for (const error of [(await outcomeOf[kind](world)).error, await fails()]) {
      expect(error).toMatchObject({ code: Code.Unavailable });
      expect(error?.rawMessage).toContain(new URL(world.url).host);
    }
    await world.expectServed();
    expect(world.peers).toHaveLength(2);
    await world.idle();
  }
});

const threeHundred = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`x-${n}`, ""]));

it.each<[string, (stream: number) => Buffer[], Code?]>([
  ["DATA before headers", (s) => [data(s, hello)]],
  ["a stream's window past 2^31-1", (s) => [windowUpdate(s, 2 ** 31 - 1)]],
  ["headers without :status", (s) => [headers(s, [["content-type", "application/grpc"]])]],
  ["headers twice", (s) => [responseHeaders(s), responseHeaders(s)]],
  ["headers, a message, headers", (s) => [responseHeaders(s), data(s, hello), responseHeaders(s)]],
  [
    "trailers that do not end the stream",
    (s) => [responseHeaders(s), headers(s, [["grpc-status", "0"]])],
  ],
  [
    "trailers with a :status",
    (s) => [responseHeaders(s), responseHeaders(s, { "grpc-status": "0" }, true)],
  ],
  ["a name in capitals", (s) => [responseHeaders(s, { "X-Odd": "1" })]],
  ["101", (s) => [headers(s, [[":status", "101"]]), responseHeaders(s)]],
  ["an informational end", (s) => [headers(s, [[":status", "103"]], true)]],
  ["three hundred headers", (s) => [responseHeaders(s, threeHundred)], Code.ResourceExhausted],
  [
    "three hundred trailers",
    (s) => [
      responseHeaders(s),
      headers(s, [["grpc-status", "0"], ...Object.entries(threeHundred)], true),
    ],
    Code.ResourceExhausted,
  ],
  [
    "a content-length that promises less",
    (s) => [responseHeaders(s, { "content-length": "3" }), data(s, hello), trailers(s)],
  ],
  [
    "a content-length that promises more",
    (s) => [responseHeaders(s, { "content-length": "99" }), data(s, hello), trailers(s)],
  ],
])(
  "a server that sends %s loses the stream, and no other",
  async (_, answer, code = Code.Internal) => {
    for (const kind of ["unary", "chat"] as const) {
      await using world = await fakeServer(({ peer, stream }) => peer.write(...answer(stream)));
      const { stillWorks } = await world.otherCall();
      expect(await outcomeOf[kind](world)).toMatchObject({ error: { code } });
      await stillWorks();
      await world.expectServed();
      expect(world.peers).toHaveLength(1);
      await world.idle();
    }
  },
);

it.each(["fin", "rst"])(
  "a response cut (%s) at any byte fails the call with UNAVAILABLE",
  async (how) => {
    const greeting = Buffer.concat([settings(), frame(Type.SETTINGS, Flag.ACK, 0)]);
    const whole = Buffer.concat([greeting, responseHeaders(1), data(1, hello), trailers(1)]);
    for (let at = 0; at <= whole.length; at++) {
      let asked = false;
      await using server = await listen((socket) => {
        const cut = () => (how === "fin" ? socket.end() : socket.resetAndDestroy());
        let heard = Buffer.alloc(0);
        socket.write(whole.subarray(0, Math.min(at, greeting.length)));
        socket.on("data", (chunk) => {
          heard = Buffer.concat([heard, chunk]);
          if (heard.length < PREFACE.length) return;
          if (at <= greeting.length) return void cut();
          // The request is here when its message is.
          if (asked || !heard.includes(hello)) return;
          asked = true;
          socket.write(whole.subarray(greeting.length, at), () => how === "fin" && cut());
          if (how === "rst") setImmediate(cut);
        });
      });
      await using world = await fakeServer(() => {}, { baseUrl: server.url });
      const { replies, error } = await outcomeOf.unary(world);
      const label = `cut at ${at} of ${whole.length}: ${error}`;
      if (at === whole.length && (how === "fin" || error === undefined)) {
        expect(replies, label).toEqual(["hello"]);
      } else {
        expect(error?.code, label).toBe(Code.Unavailable);
        expect(error?.rawMessage, label).toContain(new URL(server.url).host);
      }
    }
  },
);

it.each<[string, (world: FakeServer) => Promise<unknown>]>([
  ["unary", (world) => world.client.sayHello({ content: "x".repeat(3 * 2 ** 20) }, scripted)],
  [
    "client-streaming",
    async (world) => {
      const sink = world.client.collect(scripted);
      const sends = Array.from({ length: 100 }, () => sink.send({ content: "x".repeat(10_000) }));
      const finished = sink.finish();
      await Promise.allSettled(sends);
      return await finished;
    },
  ],
])(
  "a %s call ends when the server ends it, although most of the request is still to be sent",
  async (_, call) => {
    const answers = [
      (s: number) => [responseHeaders(s), data(s, Buffer.alloc(5)), trailers(s)],
      (s: number) => [responseHeaders(s, { "grpc-status": "8", "grpc-message": "no more" }, true)],
    ];
    for (const answer of answers) {
      for (const ending of [(s: number) => [rst(s, Http2Code.NO_ERROR)], () => []]) {
        await using world = await fakeServer(
          ({ peer, stream }) => peer.write(...answer(stream), ...ending(stream)),
          { settings: { 4: 1000 } },
        );
        const { stillWorks } = await world.otherCall();
        if (answer === answers[0]) await call(world);
        else await expect(call(world)).rejects.toMatchObject({ code: 8, rawMessage: "no more" });
        await stillWorks();
        const [{ peer, stream }] = world.calls as [FakeCall];
        if (ending(1).length === 0) await peer.reset(stream);
        await world.idle();
      }
    }
  },
);

it.each([
  ["OK", 0, Code.FailedPrecondition],
  ["an error", 5, Code.NotFound],
])("the send() of a Chat that the server ends with %s ends too", async (_, status, code) => {
  await using world = await fakeServer(
    async ({ peer, stream, request }) => {
      peer.write(responseHeaders(stream), data(stream, hello));
      await peer.until(() => request.bytes === 1000);
      peer.write(trailers(stream, status), rst(stream, Http2Code.NO_ERROR));
    },
    { settings: { 4: 1000 } },
  );
  const chat = world.client.chat(scripted);
  const sends = Array.from({ length: 50 }, () => chat.send({ content: "x".repeat(10_000) }));
  const replies: string[] = [];
  const loop = (async () => {
    for await (const { reply } of chat) replies.push(reply);
  })();
  if (status === 0) await loop;
  else await expect(loop).rejects.toMatchObject({ code });
  expect(replies).toEqual(["hello"]);
  const blocked = (await Promise.allSettled(sends)).filter(({ status }) => status === "rejected");
  expect(blocked.length).toBeGreaterThan(0);
  for (const send of blocked) expect(send).toMatchObject({ reason: { code } });
  await expect(chat.send({ content: "late" })).rejects.toMatchObject({ code });
  await world.expectServed();
  await world.idle();
});
