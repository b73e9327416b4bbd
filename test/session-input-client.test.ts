import { expect, test } from "vitest";
import { SessionLost_Reason as Reason } from "../gen/hawser/v1/session_pb.js";
import { Code, ConnectError, readSessionLost } from "../src/index.ts";
import { stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { type Hosted, refusal, scripted, sessionHost, terms } from "./support/session-host.ts";
import { CONTROL, control, end, newId, received } from "./support/session-peer.ts";
import { envelope, goaway, Http2Code, headers, type Peer, rst } from "./support/wire.ts";

// Input of a hostile server to a client that wants sessions: the call fails with the reason, or continues; another
// session on the same connection continues.

const u64 = `${2n ** 64n - 1n}`;

const nonsense: [what: string, negotiation: Uint8Array | ((peer: Peer, stream: number) => void)][] =
  [
    ["nothing", new Uint8Array()],
    ["garbage", Buffer.from("ffffffffffffffff", "hex")],
    ["an epoch that is not valid", terms({ epoch: "soon" })],
    ["no grace", terms({ graceMs: 0n })],
    ["no window", terms({ windowMessages: 0n })],
    ["5 kB", Buffer.alloc(5000)],
    [
      "only a status",
      (peer, stream) => peer.write(headers(stream, Object.entries(refusal(0)), true)),
    ],
    [
      "UNIMPLEMENTED",
      (peer, stream) => peer.write(headers(stream, Object.entries(refusal(12)), true)),
    ],
    ["HTTP 404", (peer, stream) => peer.write(headers(stream, [[":status", "404"]], true))],
    ["a reset", (peer, stream) => peer.write(rst(stream, 2))],
  ];

test.each(nonsense)(
  "a server that answers Negotiate with %s gets plain calls",
  async (_, negotiation) => {
    await using host = await sessionHost(() => {}, { negotiation });
    for (let n = 0; n < 2; n++) {
      const chat = host.client.chat();
      await chat.send({ content: "plain" });
      chat.closeSend();
      expect(await all(chat)).toMatchObject([{ reply: "plain" }]);
      expect(chat.resumable).toBe(false);
    }
    expect(host.plain).toBe(2);
  },
);

test("the longest grace and the widest window that a server may announce are used", async () => {
  const most = 2n ** 64n - 1n;
  await using host = await sessionHost(() => {}, {
    negotiation: terms({ graceMs: most, windowMessages: most }),
  });
  const other = await host.otherSession();
  await other.stillWorks();
  expect(host.plain).toBe(0);
});

test("a connection that is lost during Negotiate, again and again, fails the call with UNAVAILABLE", async () => {
  let asked = 0;
  await using host = await sessionHost(() => {}, {
    negotiation: (peer) => {
      asked++;
      peer.socket.destroy();
    },
  });
  expect(await failureOf(host.client.chat())).toMatchObject({ code: Code.Unavailable });
  expect(asked).toBe(3);
});

const badAnswers: [what: string, but: Record<string, string | undefined>, code: Code][] = [
  [
    "of a session that is neither new nor resumed",
    { "hawser-session": "maybe" },
    Code.InvalidArgument,
  ],
  ["without a session", { "hawser-session": undefined }, Code.Internal],
  ["without an epoch", { "hawser-epoch": undefined }, Code.InvalidArgument],
  ["with an epoch that is not valid", { "hawser-epoch": "x" }, Code.InvalidArgument],
  ["without a count", { "hawser-received": undefined }, Code.InvalidArgument],
  ["with a count below zero", { "hawser-received": "-1" }, Code.InvalidArgument],
  ["with a count above what was sent", { "hawser-received": "7" }, Code.InvalidArgument],
  ["with a count of 2^64 - 1", { "hawser-received": u64 }, Code.InvalidArgument],
  ["without a window", { "hawser-window": undefined }, Code.InvalidArgument],
  ["with no window to speak of", { "hawser-window": "0,0" }, Code.InvalidArgument],
];

test.each(badAnswers)(
  "an answer %s fails the call, and the server gets a cancel",
  async (_, but, code) => {
    await using host = await sessionHost((attachment) => attachment.answer(but));
    const other = await host.otherSession();
    const chat = host.client.chat(scripted);
    void chat.send({ content: "one" });
    expect(await failureOf(chat)).toMatchObject({ code });
    await expect(chat.send({ content: "more" })).rejects.toThrow(ConnectError);
    await until("the server is told", () => host.hosted.length === 2);
    expect(host.hosted[1]?.asks).toMatchObject({ "hawser-attach": "2", "hawser-cancel": "1" });
    await other.stillWorks();
  },
);

const badResumes: [what: string, but: Record<string, string>, reason: Reason][] = [
  ["as new", { "hawser-session": "new" }, Reason.PROTOCOL_ERROR],
  ["by another process", { "hawser-epoch": newId() }, Reason.PROTOCOL_ERROR],
  ["with more than was sent", { "hawser-received": "3" }, Reason.PROTOCOL_ERROR],
  ["with less than was acknowledged", { "hawser-received": "1" }, Reason.GAP],
];

test.each(badResumes)("a session that is resumed %s is lost", async (_, but, reason) => {
  await using host = await sessionHost(async (attachment) => {
    if (attachment.number > 1) return attachment.answer({ "hawser-received": "2", ...but });
    attachment.answer();
    await attachment.hears(2);
    attachment.send(received(2));
    await attachment.peer.ping();
    attachment.reset(8);
  });
  const other = await host.otherSession();
  const chat = host.client.chat(scripted);
  await chat.send({ content: "one" });
  await chat.send({ content: "two" });
  const error = await failureOf(chat);
  expect(readSessionLost(error)).toMatchObject({ reason, arrived: 2n });
  expect(error.code).toBe(reason === Reason.GAP ? Code.Aborted : Code.InvalidArgument);
  await other.stillWorks();
});

const raw = (...bytes: number[]) => envelope(Buffer.from(bytes), CONTROL);

const badFrames: [what: string, frames: (string | Buffer)[]][] = [
  ["acknowledges more than was sent", [received(2)]],
  ["acknowledges 2^53", [received(2n ** 53n)]],
  ["acknowledges 2^64 - 1, or -1", [received(2n ** 64n - 1n)]],
  ["half-closes by a control", [end(0)]],
  ["sends a control that says nothing", [raw()]],
  ["sends a control of a kind that is not known", [raw(0x7a, 1, 0x41)]],
  ["sends a control of garbage", [raw(0xff, 0xff, 0xff)]],
  ["sends a control that says it is compressed", [envelope(Buffer.of(0x08, 1), CONTROL | 1)]],
  ["announces a control of 65 537 B", [envelope(Buffer.alloc(0), CONTROL, 65_537)]],
  ["announces a control of 4 GiB", [envelope(Buffer.alloc(0), CONTROL, 2 ** 32 - 1)]],
  ["sends more than the window holds", ["1", "2", "3", "4", "5"]],
];

test.each(badFrames)(
  "a server that %s fails the call with INVALID_ARGUMENT, and gets a cancel",
  async (_, frames) => {
    await using host = await sessionHost(
      async (attachment) => {
        attachment.answer();
        await attachment.hears(1);
        attachment.send(...frames);
      },
      { sessions: { windowMessages: 4 } },
    );
    const other = await host.otherSession();
    const chat = host.client.chat(scripted);
    await chat.send({ content: "one" });
    await until("the call has ended", () => chat.state === "closed" || host.hosted.length > 1);
    expect(await failureOf(chat)).toMatchObject({ code: Code.InvalidArgument });
    await until("the server is told", () => host.hosted.at(-1)?.asks["hawser-cancel"] === "1");
    await other.stillWorks();
  },
);

test("headers that come twice, or after a message, count once", async () => {
  const metadata = (value: string) =>
    control({ case: "header", value: { entries: [{ name: "x-set", value }] } as never });
  await using host = await sessionHost(async (attachment) => {
    attachment.answer({ "hawser-metadata": "later" });
    attachment.send(metadata("first"), metadata("second"), "one", metadata("third"));
    await attachment.hearsEnd();
    attachment.end({ "grpc-status": "0", "hawser-sent": "1" });
  });
  let heads = 0;
  const chat = host.client.chat({ ...scripted, onHeader: () => heads++ });
  chat.closeSend();
  expect(await all(chat)).toMatchObject([{ reply: "one" }]);
  expect((await chat.headers).get("x-set")).toBe("first");
  expect(heads).toBe(1);
});

const badEnds: [what: string, fields: Record<string, string>, code: Code, reason?: Reason][] = [
  ["OK without a count", {}, Code.InvalidArgument, Reason.PROTOCOL_ERROR],
  ["a count below what came", { "hawser-sent": "0" }, Code.InvalidArgument, Reason.PROTOCOL_ERROR],
  ["a count below zero", { "hawser-sent": "-1" }, Code.InvalidArgument],
  ["a count of 2^64 - 1", { "hawser-sent": u64 }, Code.InvalidArgument],
  ["NOT_FOUND without a count", { "grpc-status": "5" }, Code.NotFound],
  ["a status that is not a number", { "grpc-status": "ninety" }, Code.Unknown],
  [
    "ABORTED with details that are not valid",
    { "grpc-status": "10", "grpc-status-details-bin": "////" },
    Code.Aborted,
  ],
];

test.each(badEnds)("an end with %s fails the call", async (_, fields, code, reason) => {
  await using host = await sessionHost(async (attachment) => {
    attachment.answer();
    attachment.send("one");
    attachment.end({ "grpc-status": "0", ...fields });
  });
  const other = await host.otherSession();
  const chat = host.client.chat(scripted);
  expect(await next(chat)).toMatchObject({ reply: "one" });
  const error = await failureOf(chat);
  expect(error.code).toBe(code);
  expect(readSessionLost(error)?.reason).toBe(reason);
  await other.stillWorks();
});

const losses: [what: string, how: (attachment: Hosted) => void][] = [
  ["an end that counts more than came", (a) => a.end({ "grpc-status": "0", "hawser-sent": "2" })],
  ["an end of the stream without a status", (a) => a.close()],
  [
    "an end in the middle of a message",
    async (a) => {
      a.send(Buffer.from([0, 0, 0, 9]));
      await a.close();
    },
  ],
  ["UNAVAILABLE", (a) => a.end({ "grpc-status": "14" })],
  [
    "UNAVAILABLE, and a pushback that is not valid",
    (a) => a.end({ "grpc-status": "14", "grpc-retry-pushback-ms": "-1" }),
  ],
  [
    "UNAVAILABLE, and a pushback",
    (a) => a.end({ "grpc-status": "14", "grpc-retry-pushback-ms": "40" }),
  ],
  ["RST_STREAM(NO_ERROR)", (a) => a.reset(0)],
  ["RST_STREAM(INTERNAL_ERROR)", (a) => a.reset(2)],
  ["RST_STREAM(REFUSED_STREAM)", (a) => a.reset(7)],
  ["RST_STREAM(CANCEL)", (a) => a.reset(8)],
  ["a connection that breaks off", (a) => a.peer.socket.destroy()],
];

test("a session whose first attachment is above the last-stream-id of a GOAWAY for too many pings begins on another connection, with all that was sent", async () => {
  await using host = await sessionHost(async (attachment) => {
    const { peer, stream } = attachment;
    if (host.hosted.length === 1) {
      await attachment.hears(1);
      peer.write(goaway(stream - 2, Http2Code.ENHANCE_YOUR_CALM, "too_many_pings"));
      peer.socket.end();
      return;
    }
    attachment.answer();
    await attachment.hearsEnd();
    expect(attachment.messages).toHaveLength(1);
    attachment.send("one");
    attachment.end({ "grpc-status": "0", "hawser-sent": "1" });
  });
  const chat = host.client.chat(scripted);
  await chat.send({ content: "hello" });
  chat.closeSend();
  expect(await all(chat)).toMatchObject([{ reply: "one" }]);
  const [first, second] = host.hosted;
  expect([first?.number, second?.number]).toEqual([1, 1]);
  expect(second?.peer).not.toBe(first?.peer);
  expect(second?.asks["hawser-session"]).toBe(first?.asks["hawser-session"]);
});

test.each(losses)("%s ends the attachment only", async (_, how) => {
  await using host = await sessionHost(async (attachment) => {
    if (attachment.number === 1) {
      attachment.answer();
      await attachment.hears(1);
      attachment.send("one");
      await attachment.peer.ping();
      how(attachment);
      return;
    }
    expect(attachment.asks["hawser-received"]).toBe("1");
    attachment.answer({ "hawser-received": "1" });
    attachment.send("two");
    await attachment.hearsEnd();
    // What was received is not sent again.
    expect(attachment.messages).toEqual([]);
    attachment.end({ "grpc-status": "0", "hawser-sent": "2" });
  });
  const chat = host.client.chat(scripted);
  await chat.send({ content: "hello" });
  expect(await next(chat)).toMatchObject({ reply: "one" });
  expect(await next(chat)).toMatchObject({ reply: "two" });
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
  expect(host.hosted).toHaveLength(2);
});

test.each([
  ["a gateway's HTTP 503", [[":status", "503"]]],
  ["a gateway's HTTP 502", [[":status", "502"]]],
  ["a refusal for now", Object.entries(refusal(14))],
] as [string, [string, string][]][])(
  "%s in the place of an answer is followed by another attachment",
  async (_, list) => {
    await using host = await sessionHost(async (attachment) => {
      if (attachment.number < 3) {
        attachment.peer.write(headers(attachment.stream, list, true));
        return;
      }
      attachment.answer();
      await attachment.hearsEnd();
      expect(attachment.messages).toHaveLength(1);
      attachment.end({ "grpc-status": "0", "hawser-sent": "0" });
    });
    const chat = host.client.chat(scripted);
    await chat.send({ content: "hello" });
    chat.closeSend();
    expect(await all(chat)).toEqual([]);
  },
);

test("a server that acknowledges nothing gets no message twice, and no more than its window", async () => {
  await using host = await sessionHost((attachment) => attachment.answer(), {
    negotiation: terms({ windowMessages: 5n }),
  });
  const chat = host.client.chat(scripted);
  const sends = Array.from({ length: 40 }, (_, n) => chat.send({ content: `${n}` }));
  const count = () => host.hosted[0]?.messages.length ?? 0;
  await until("a window full has come", () => count() >= 5);
  expect(await stillAt(count)).toBe(5);
  chat.cancel();
  await Promise.allSettled(sends);
});

test.each([
  ["a reason that this version does not know", 99, 0n, 0n],
  ["more messages than were sent", Reason.GAP, 2n ** 64n - 1n, 1n],
])("the client reads a SessionLost with %s", async (_, reason, arrived, known) => {
  const { SessionLostSchema } = await import("../gen/hawser/v1/session_pb.js");
  const { create, toBinary } = await import("@bufbuild/protobuf");
  const lost = toBinary(SessionLostSchema, create(SessionLostSchema, { reason, arrived }));
  const type = Buffer.from("type.googleapis.com/hawser.v1.SessionLost");
  const field = (number: number, bytes: Uint8Array) =>
    Buffer.concat([Buffer.of(number * 8 + 2, bytes.length), bytes]);
  const details = field(3, Buffer.concat([field(1, type), field(2, lost)])).toString("base64");
  await using host = await sessionHost(async (attachment) => {
    await attachment.hears(1);
    const but = { "grpc-status-details-bin": details };
    attachment.peer.write(headers(attachment.stream, Object.entries(refusal(10, but)), true));
  });
  const chat = host.client.chat(scripted);
  await chat.send({ content: "one" });
  const error = await failureOf(chat);
  expect(error.code).toBe(Code.Aborted);
  expect(readSessionLost(error)).toMatchObject({ reason, arrived: known });
  expect(error.message).not.toContain("undefined");
  expect(host.hosted).toHaveLength(1);
});
