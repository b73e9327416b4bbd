import { describe, expect, test } from "vitest";
import { SessionLost_Reason as Reason } from "../gen/hawser/v1/session_pb.js";
import { Code } from "../src/server.ts";
import { aborted, gate, until } from "./support/gate.ts";
import {
  type Asking,
  type Attached,
  CONTROL,
  control,
  end,
  newId,
  received,
  type SessionPeer,
} from "./support/session-peer.ts";
import {
  type Run,
  type SessionSetup,
  type SessionWorld,
  sessionWorld,
} from "./support/session-world.ts";
import { message, request } from "./support/watched-server.ts";
import { data, envelope, messages, rst } from "./support/wire.ts";

// What a hostile client can say to a server that keeps sessions: each time it is told what is wrong, and another
// session, on the same connection, goes on.

interface Scene extends AsyncDisposable {
  readonly world: SessionWorld;
  readonly peer: SessionPeer;
}

/** A world with a session on the connection that the test uses; it must be unharmed when the test is over. */
async function scene(setup?: SessionSetup): Promise<Scene> {
  const world = await sessionWorld(setup);
  const peer = await world.peer();
  const witness = peer.attach(newId());
  witness.send("before");
  await witness.hears(1);
  return {
    world,
    peer,
    async [Symbol.asyncDispose]() {
      witness.send("after", end(2));
      expect(await witness.hears(2)).toEqual(["before", "after"]);
      expect(await witness.over()).toMatchObject({ status: 0, sent: "2" });
      witness.halfClose();
      expect(world.runs[0]).toMatchObject({ requests: ["before", "after"], end: "half-closed" });
      expect(world.logged).toEqual([]);
      await world[Symbol.asyncDispose]();
    },
  };
}

const u64 = `${2n ** 64n - 1n}`;
const tooLarge = `${2n ** 53n}`;

const badHeaders: [name: string, values: (string | undefined)[]][] = [
  [
    "hawser-session",
    ["", "0".repeat(31), "0".repeat(33), "A".repeat(32), `${"0".repeat(31)}g`, "\xff".repeat(32)],
  ],
  ["hawser-session", ["x".repeat(9000), `${newId()}, ${newId()}`]],
  ["hawser-attach", [undefined, "", "0", "-1", "1.5", "1e3", "0x1", "one", "1, 1", tooLarge, u64]],
  ["hawser-attach", ["9".repeat(17), "9".repeat(5000), "+1", "1 ", "\xb2"]],
  ["hawser-received", [undefined, "", "-1", "0.5", "1e3", "none", tooLarge, u64, "9".repeat(5000)]],
  ["hawser-window", [undefined, "", "0,0", "0,1", "1,0", "-1,-1", "1", "1,1,1", "1;1", "1e9,1"]],
  ["hawser-window", [`${u64},1`, `1,${u64}`, "1,", ",1", "all,all"]],
  ["hawser-epoch", [undefined, "", "0", newId().toUpperCase(), `${newId()}0`]],
  ["hawser-opened", ["", "-1", "now", "1.5", tooLarge, u64]],
  ["hawser-cancel", ["", "0", "yes", u64]],
];

describe.each([1, 2])(
  "headers that make no sense, on attachment %i: INVALID_ARGUMENT",
  (attach) => {
    test.each(badHeaders)("%s: %j", async (name, values) => {
      await using stage = await scene();
      const { world, peer } = stage;
      const id = newId();
      const victim = peer.attach(id);
      await victim.answer();
      for (const value of values) {
        const session = attach === 1 ? newId() : id;
        const headers = { [name]: value };
        const { status, lost, message } = await peer.attach(session, { attach, headers }).over();
        expect(status, `${name}: ${value}`).toBe(Code.InvalidArgument);
        expect(lost).toBeUndefined();
        expect(message).toContain(name);
        expect(message.length).toBeLessThan(250);
      }
      expect(world.runs).toHaveLength(2);
      victim.send("on", end(1));
      expect(await victim.hears(1)).toEqual(["on"]);
      expect(await victim.over()).toMatchObject({ status: 0 });
      victim.halfClose();
    });
  },
);

test.each([
  ["more received than was sent, at the start", { received: 1 }, "before it began"],
  ["more received than was sent, later", { attach: 2, received: 2 }, "received 2 messages of 1"],
  ["far more", { attach: 2, received: `${2n ** 53n - 1n}` }, "messages of 1"],
] as [string, Asking, string][])(
  "%s: INVALID_ARGUMENT, and the session as it was",
  async (_, asking, says) => {
    await using stage = await scene();
    const { world, peer } = stage;
    const id = newId();
    const victim = peer.attach(id);
    victim.send("one");
    await victim.hears(1);
    const session = asking.attach === undefined ? newId() : id;
    const { status, lost, message } = await peer.attach(session, asking).over();
    expect(status).toBe(Code.InvalidArgument);
    expect(lost).toMatchObject({ reason: Reason.PROTOCOL_ERROR });
    expect(message).toContain(says);
    expect(world.runs).toHaveLength(2);
    victim.send("two", end(2));
    expect(await victim.hears(2)).toEqual(["one", "two"]);
    expect(await victim.over()).toMatchObject({ status: 0 });
    victim.halfClose();
  },
);

test("a clock ahead of the server's is no reason to refuse a session, and leaves nothing for long", async () => {
  await using stage = await scene({ sessions: { graceMs: 300, maxSessions: 3 } });
  const { peer } = stage;
  for (const aheadMs of [5, 5_000, 2 ** 50]) {
    const opened = { "hawser-opened": `${peer.serverNowMs + aheadMs}` };
    const ahead = peer.attach(newId(), { attach: 2, opened: true, headers: opened });
    expect(await ahead.answer()).toMatchObject({ "hawser-session": "new" });
    ahead.send(end(0));
    expect(await ahead.over()).toMatchObject({ status: 0 });
    ahead.halfClose();
    await new Promise((resolve) => setTimeout(resolve, 310));
  }
});

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

test.each(badFrames)("a client that %s: INVALID_ARGUMENT", async (_, frames) => {
  await using stage = await scene();
  // The call is not over with its requests: what comes behind their end is still heard.
  const victim = stage.peer.attach(newId(), { headers: { "x-hold": "1" } });
  victim.send("one");
  await victim.hears(1);
  const bytes = Buffer.concat(frames.map((part) => (Buffer.isBuffer(part) ? part : message(part))));
  // What does not fit the window any more when the server has ended the call never leaves.
  stage.peer.peer.flow(victim.stream, bytes).catch(() => {});
  const { status, sent, message: said } = await victim.over();
  expect({ status, said, sent }).toMatchObject({ status: Code.InvalidArgument, sent: "1" });
  victim.halfClose();
  const [, run] = stage.world.runs as [Run, Run];
  await aborted(run.context.signal);
  expect(run.requests).toEqual(["one"]);
  expect(run.context.signal.reason).toMatchObject({ code: Code.InvalidArgument });
});

test("a control of 65 536 B, and 1 MiB of small ones, are none of the server's trouble", async () => {
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
  expect(await session.over()).toMatchObject({ status: 0 });
  session.halfClose();
});

test.each([
  ["in messages", "1048576,4", 4, 1],
  ["in bytes, of which one message may take more", "100,1000", 2, 60],
])(
  "a client that sends more than the window holds, %s: INVALID_ARGUMENT",
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
    const { status, lost } = await victim.over();
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

test.each(endings)("%s ends the attachment, and nothing else", async (_, how) => {
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
  expect(await second.over()).toMatchObject({ status: 0, sent: "2" });
  second.halfClose();
  expect(world.runs[1]).toMatchObject({ requests: ["one", "two"], end: "half-closed" });
});

test("END_STREAM behind the client's end, without the server's, is no confirmation", async () => {
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
  expect(await first.over()).toMatchObject({ status: Code.Unavailable, sent: undefined });
  const second = peer.attach(id, { attach: 2, received: 1 });
  await second.answer();
  held.open();
  expect(await second.hears(1)).toEqual(["and more"]);
  expect(await second.over()).toMatchObject({ status: 0, sent: "2" });
  second.halfClose();
});

test.each([
  ["a message that is no protobuf", [envelope(Buffer.of(0x0a, 0x7f, 0x41))], Code.Internal],
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
    expect(await victim.over()).toMatchObject({ status: code, lost: undefined, sent: "1" });
    victim.halfClose();
    await until("the handler has ended", () => world.runs[1]?.end !== "running");
  },
);

test("sessions are of streaming calls: a unary one takes no notice of the headers", async () => {
  await using stage = await scene();
  const { peer } = stage;
  const nonsense = { "hawser-attach": "0", "hawser-received": u64, "hawser-cancel": "1" };
  for (const headers of [{}, nonsense]) {
    const call = peer.attach(newId(), {
      path: "SayHello",
      headers,
      frames: [message("hello")],
      halfClosed: true,
    });
    expect(await call.hears(1)).toEqual(["hello"]);
    const { status, trailers } = await call.over();
    expect(status).toBe(0);
    expect(Object.keys({ ...(await call.answer()), ...trailers }).join()).not.toContain("hawser");
  }
});

test("a streaming call without hawser-session is plain, whatever else it says", async () => {
  await using stage = await scene();
  const { peer } = stage;
  const call = peer.attach(newId(), {
    headers: { "hawser-session": undefined },
    halfClosed: false,
  });
  call.send("plain");
  expect(await call.hears(1)).toEqual(["plain"]);
  call.halfClose();
  expect(await call.over()).toMatchObject({ status: 0, sent: undefined });
});

test.each(["Chat", "SayHello", "Collect"])(
  "a control frame in a plain %s is a reserved flag: INTERNAL",
  async (path) => {
    await using stage = await scene();
    const { peer } = stage.peer;
    const stream = stage.peer.nextStream();
    peer.write(
      request(stream, path),
      data(stream, Buffer.concat([message("one"), received(0)]), true),
    );
    const { status, body } = await peer.over(stream);
    expect(status).toBe(Code.Internal);
    expect(messages(body).length).toBeLessThanOrEqual(1);
  },
);

test.each([
  ["a plain call", "NO_ERROR", 0, false],
  ["a plain call", "CANCEL", 8, false],
  ["a session", "NO_ERROR", 0, true],
  ["a session", "CANCEL", 8, true],
])("%s that its client resets with %s at once leaves nothing", async (_, __, code, isSession) => {
  await using stage = await scene({ sessions: { graceMs: 100 } });
  const { peer, world } = stage;
  const headers = isSession ? {} : { "hawser-session": undefined };
  for (let n = 0; n < 20; n++) {
    const attached = peer.attach(newId(), { headers, frames: [message("one")] });
    attached.reset(code);
    if (n % 2 === 0) await peer.peer.ping();
  }
  await until("only the witness is left", () => world.server.openCalls === 1);
});

/** Numbers below `most`, the same in each run (xorshift). */
function dice(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % most;
  };
}

test("attachments of random nonsense leave no handler and no session behind", async () => {
  await using stage = await scene({ sessions: { graceMs: 250 } });
  const { peer, world } = stage;
  const { epoch } = peer.terms;
  const roll = dice(20_261_123);
  const one = <T>(...values: readonly T[]) => values[roll(values.length)] as T;
  const ids = Array.from({ length: 60 }, newId);
  for (let n = 0; n < 400; n++) {
    const attached = peer.attach(one(...ids), {
      attach: one<number>(0, 1, 2, 3, n),
      received: one<number | string>(0, 0, 0, 0, 0, 1, u64),
      opened: one(true, false),
      path: one("Chat", "Chat", "Collect", "Subscribe"),
      headers: {
        "hawser-epoch": one(epoch, epoch, epoch, epoch, newId(), "no"),
        "hawser-window": one("1048576,16384", "1,1", "0,0"),
        "hawser-cancel": one(undefined, undefined, undefined, "1"),
      },
    });
    const bytes = Buffer.from(Array.from({ length: roll(40) }, () => roll(256)));
    attached.send(one(received(0), end(0), message("x"), envelope(bytes, CONTROL), bytes));
    if (roll(3) > 0) attached.reset(one<number>(0, 8));
    if (n % 20 === 0) await peer.peer.ping();
    else if (roll(4) === 0) attached.halfClose();
  }
  await peer.peer.ping();
  for (let stream = 5; stream < 5 + 2 * 400; stream += 2) peer.peer.write(rst(stream, 8));
  await until("only the witness is left", () => world.server.openCalls === 1);
  expect(world.runs.length).toBeGreaterThan(20);
});
