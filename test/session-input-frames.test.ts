import { expect, test } from "vitest";
import { SessionLost_Reason as Reason } from "../gen/hawser/v1/session_pb.js";
import { Code } from "../src/server.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { type Attached, CONTROL, control, end, newId, received } from "./support/session-peer.ts";
import { scene } from "./support/session-scene.ts";
import { type Run, sessionWorld } from "./support/session-world.ts";
import { message, request } from "./support/watched-server.ts";
import { data, envelope, messages } from "./support/wire.ts";

// What a hostile client can send on an attachment that the server let in, and how it can end it: the call ends with
// what is wrong, or continues with the next attachment; another session, on the same connection, continues.

/** A Control with fields that this version does not know, `bytes` long in all. */
function padded(bytes: number): Buffer {
  // received = 1, then field 15 with a length of four bytes.
  const head = Buffer.from([0x08, 1, 0x7a, 0, 0, 0, 0]);
  let length = bytes - head.length;
  for (let at = 3; at < 7; at++, length >>>= 7) head[at] = (length & 127) | (at < 6 ? 128 : 0);
  return envelope(Buffer.concat([head, Buffer.alloc(bytes - head.length)]), CONTROL);
}

const raw = (...bytes: number[]) => envelope(Buffer.from(bytes), CONTROL);

// Before each, the client has sent one message, and got one.
const badFrames: [what: string, frames: (string | Buffer)[]][] = [
  ["acknowledges more than was sent", [received(2)]],
  ["acknowledges 2^53", [received(2n ** 53n)]],
  ["acknowledges 2^64 - 1, or -1", [received(2n ** 64n - 1n)]],
  ["ends after fewer messages than it sent", [end(0)]],
  ["ends after more messages than it sent", [end(2)]],
  ["ends after 2^64 - 1, or -1", [end(2n ** 64n - 1n)]],
  ["ends twice, at different counts", [end(1), end(2)]],
  ["sends a message after its end", [end(1), "more"]],
  ["sends a message after its end, counted in another end", [end(1), "more", end(2)]],
  ["sends response headers", [control({ case: "header", value: { entries: [] } as never })]],
  ["sends a control that says nothing", [raw()]],
  ["sends a control of a kind that is not known", [raw(0x7a, 1, 0x41)]],
  ["sends a control that is cut off", [raw(0x08)]],
  ["sends a control of garbage", [raw(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)]],
  ["sends a control with the field number 0", [raw(0x00, 0x01)]],
  ["sends a control that never ends its group", [raw(0x13, 0x08, 0x01)]],
  ["sends a control that says it is compressed", [envelope(Buffer.of(0x08, 1), CONTROL | 1)]],
  ["sends a control of 65 537 B", [padded(65_537)]],
  ["sends a control of 1 MiB", [padded(2 ** 20)]],
  ["announces a control of 1 MiB", [envelope(Buffer.alloc(0), CONTROL, 2 ** 20)]],
  ["announces a control of 4 GiB", [envelope(Buffer.alloc(0), CONTROL, 2 ** 32 - 1)]],
];

test.each(badFrames)("a client that %s gets INVALID_ARGUMENT", async (_, frames) => {
  await using stage = await scene();
  // The call does not end with its requests: frames after their end are still read.
  const victim = stage.peer.attach(newId(), { headers: { "x-hold": "1" } });
  victim.send("one");
  await victim.hears(1);
  const bytes = Buffer.concat(frames.map((part) => (Buffer.isBuffer(part) ? part : message(part))));
  // What does not fit the window any more when the server has ended the call never leaves.
  stage.peer.peer.flow(victim.stream, bytes).catch(() => {});
  const { status, sent, message: said } = await victim.ended();
  expect({ status, said, sent }).toMatchObject({ status: Code.InvalidArgument, sent: "1" });
  victim.halfClose();
  const [, run] = stage.world.runs as [Run, Run];
  await aborted(run.context.signal);
  expect(run.requests).toEqual(["one"]);
  expect(run.context.signal.reason).toMatchObject({ code: Code.InvalidArgument });
});

test("a control frame of 65 536 B, and 1 MiB of small ones, do the server no harm", async () => {
  await using stage = await scene();
  const { peer } = stage;
  const session = peer.attach(newId());
  session.send("one");
  await session.hears(1);
  await peer.peer.flow(session.stream, padded(65_536));
  const small = Buffer.concat(Array.from({ length: 10_000 }, () => received(1)));
  for (let bytes = 0; bytes < 2 ** 20; bytes += small.length) {
    await peer.peer.flow(session.stream, small);
  }
  await peer.peer.flow(session.stream, Buffer.concat([message("two"), end(2)]));
  expect(await session.hears(2)).toEqual(["one", "two"]);
  expect(await session.ended()).toMatchObject({ status: 0 });
  session.halfClose();
});

test.each([
  ["in messages", "1048576,4", 4, 1],
  ["in bytes, of which one message may take more", "100,1000", 2, 60],
])(
  "a client that sends more than the window holds, %s, gets INVALID_ARGUMENT",
  async (_, window, fits, bytes) => {
    const held = gate();
    await using world = await sessionWorld({
      greeter: {
        // biome-ignore lint/correctness/useYield: it takes nothing and says nothing.
        async *chat() {
          await held.opened;
        },
      },
    });
    const peer = await world.peer();
    const victim = peer.attach(newId(), { headers: { "hawser-window": window } });
    for (let n = 0; n < fits; n++) victim.send("x".repeat(bytes));
    await peer.peer.ping();
    expect(world.server.openCalls).toBe(1);
    victim.send("x");
    const { status, lost } = await victim.ended();
    expect(status).toBe(Code.InvalidArgument);
    expect(lost).toMatchObject({ reason: Reason.PROTOCOL_ERROR, arrived: BigInt(fits) });
    victim.halfClose();
    held.open();
  },
);

const endings: [what: string, how: (attached: Attached) => void][] = [
  ["END_STREAM without an end", (attached) => attached.halfClose()],
  [
    "END_STREAM in the middle of a message",
    (attached) => {
      attached.send(message("cut off").subarray(0, 7));
      attached.halfClose();
    },
  ],
  [
    "END_STREAM in the middle of a prefix",
    (attached) => {
      attached.send(message("cut off").subarray(0, 3));
      attached.halfClose();
    },
  ],
  [
    "RST_STREAM in the middle of a message",
    (attached) => {
      attached.send(message("cut off").subarray(0, 7));
      attached.reset(0);
    },
  ],
  ["RST_STREAM(CANCEL)", (attached) => attached.reset(8)],
];

test.each(endings)("%s ends the attachment, and not the session", async (_, how) => {
  await using stage = await scene();
  const { world, peer } = stage;
  const id = newId();
  const first = peer.attach(id);
  first.send("one");
  await first.hears(1);
  how(first);
  await peer.peer.ping();
  const second = peer.attach(id, { attach: 2, received: 1 });
  expect(await second.answer()).toMatchObject({
    "hawser-session": "resumed",
    "hawser-received": "1",
  });
  second.send("two", end(2));
  expect(await second.hears(1)).toEqual(["two"]);
  expect(await second.ended()).toMatchObject({ status: 0, sent: "2" });
  second.halfClose();
  expect(world.runs[1]).toMatchObject({ requests: ["one", "two"], end: "half-closed" });
});

test("END_STREAM after the client's end, without the server's, does not confirm the end", async () => {
  const held = gate();
  await using world = await sessionWorld({
    greeter: {
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: content };
        await held.opened;
        yield { reply: "and more" };
      },
    },
  });
  const peer = await world.peer();
  const id = newId();
  const first = peer.attach(id);
  first.send("one", end(1));
  await first.hears(1);
  first.halfClose();
  expect(await first.ended()).toMatchObject({ status: Code.Unavailable, sent: undefined });
  const second = peer.attach(id, { attach: 2, received: 1 });
  await second.answer();
  held.open();
  expect(await second.hears(1)).toEqual(["and more"]);
  expect(await second.ended()).toMatchObject({ status: 0, sent: "2" });
  second.halfClose();
});

test.each([
  ["a message that is not protobuf", [envelope(Buffer.of(0x0a, 0x7f, 0x41))], Code.Internal],
  ["a message over readMaxBytes", [message("x".repeat(2000))], Code.ResourceExhausted],
  ["a reserved flag", [envelope(Buffer.alloc(0), 0x02)], Code.Internal],
  ["a reserved flag beside the control's", [envelope(Buffer.alloc(0), 0xc0)], Code.Internal],
  ["a compressed message without an encoding", [envelope(Buffer.alloc(9), 1)], Code.Internal],
] as [string, Buffer[], Code][])(
  "%s ends the call as it does without a session",
  async (_, frames, code) => {
    await using stage = await scene({ server: { readMaxBytes: 1000 } });
    const { world, peer } = stage;
    const victim = peer.attach(newId());
    victim.send("one");
    await victim.hears(1);
    victim.send(...frames);
    expect(await victim.ended()).toMatchObject({ status: code, lost: undefined, sent: "1" });
    victim.halfClose();
    await until("the handler has ended", () => world.runs[1]?.end !== "running");
  },
);

test.each(["Chat", "SayHello", "Collect"])(
  "a control frame in a plain %s ends the call with INTERNAL, for its reserved flag",
  async (path) => {
    await using stage = await scene();
    const { peer } = stage.peer;
    const stream = stage.peer.nextStream();
    peer.write(
      request(stream, path),
      data(stream, Buffer.concat([message("one"), received(0)]), true),
    );
    const { status, body } = await peer.ended(stream);
    expect(status).toBe(Code.Internal);
    expect(messages(body).length).toBeLessThanOrEqual(1);
  },
);
