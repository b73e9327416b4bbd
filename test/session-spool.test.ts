/** The spool of unacknowledged messages, compared with a plain list that follows the same rules. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IN_NO_RUN, type Received, type SharedFrame } from "../src/call-stream.ts";
import { frameRuns } from "../src/codec/frame-runs.ts";
import { FrameReader } from "../src/grpc/framing.ts";
import { Spool } from "../src/session/spool.ts";

/** A message of this many bytes or more is not copied. */
const LARGE = 16 * 1024;

interface Kept {
  readonly flags: number;
  readonly payload: Uint8Array;
}

/** The messages that are not acknowledged, and how many of them were given out. */
class Model {
  kept: Kept[] = [];
  given = 0;

  get bytes(): number {
    return this.kept.reduce((sum, { payload }) => sum + payload.length, 0);
  }

  next(): Kept[] {
    const next = this.kept.slice(this.given);
    this.given = this.kept.length;
    return next;
  }

  drop(count: number): number {
    const before = this.bytes;
    this.kept = this.kept.slice(count);
    this.given = Math.max(0, this.given - count);
    return before - this.bytes;
  }
}

type Step =
  | { do: "push"; flags: number; size: number; isShared: boolean }
  /** Messages of many calls, of which `skipped` others came before in the run; or the last one of those again. */
  | { do: "push of a run"; sizes: readonly number[]; skipped: number; isAgain: boolean }
  /** As many pieces as there are, or one: a piece may hold any number of messages. */
  | { do: "next" }
  | { do: "drop"; share: number }
  | { do: "rewind"; share: number }
  | { do: "clear" };

const size = fc.oneof(
  { weight: 8, arbitrary: fc.nat({ max: 300 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1000, max: 9000 }) },
  { weight: 3, arbitrary: fc.integer({ min: LARGE - 6, max: LARGE + 6 }) },
  { weight: 1, arbitrary: fc.integer({ min: 30_000, max: 70_000 }) },
);
const share = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }));
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("push"),
      flags: fc.constantFrom(0, 1),
      size,
      isShared: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("push of a run"),
      sizes: fc.array(fc.nat({ max: 600 }), { minLength: 1, maxLength: 12 }),
      skipped: fc.constantFrom(0, 0, 0, 1, 40),
      isAgain: fc.boolean(),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("next") }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("drop"), share }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("rewind"), share }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clear") }) },
);

let count = 0;

/** Bytes that no other message has. */
function message(size: number): Uint8Array {
  count++;
  const bytes = new Uint8Array(size).fill(count * 7);
  for (let at = 0; at < size; at += 61) bytes[at] = at ^ (at >>> 8) ^ count;
  for (let at = 0; at < Math.min(size, 4); at++) bytes[at] = count >>> (8 * at);
  return bytes;
}

/** Returns the next piece, if there is one. */
function nextOf(spool: Spool): Uint8Array | undefined {
  return spool.next()?.subarray(spool.start, spool.end);
}

/** Returns all messages that the spool gives out from now on, as the other side reads them. */
function read(spool: Spool): Kept[] {
  const came: Kept[] = [];
  const reader = new FrameReader(
    { readMaxBytes: 1_000_000 },
    {
      onFrame({ flags, bytes, start, end }: Received) {
        came.push({ flags, payload: bytes.slice(start, end) });
      },
    },
  );
  for (let piece = nextOf(spool); piece !== undefined; piece = nextOf(spool)) {
    expect(piece.length).toBeGreaterThan(0);
    reader.push(piece, 0, piece.length);
  }
  expect(reader.isPartial).toBe(false);
  return came;
}

function expectSame(came: readonly Kept[], sent: readonly Kept[]): void {
  expect(came.length).toBe(sent.length);
  for (const [at, { flags, payload }] of came.entries()) {
    expect(flags).toBe(sent[at]?.flags);
    expect(Buffer.compare(payload, (sent[at] as Kept).payload)).toBe(0);
  }
}

/** Other messages of many calls. */
const others = Array.from({ length: 40 }, () => message(300));
let latest = oneOfRun(20);

function oneOfRun(size: number): { payload: Uint8Array; frame: SharedFrame } {
  const payload = message(size);
  return { payload, frame: frameRuns.add(payload) };
}

function pushOfRun(payload: Uint8Array, frame: SharedFrame, to: { spool: Spool; model: Model }) {
  to.model.kept.push({ flags: 0, payload });
  to.spool.push(0, payload, frame);
}

function perform(step: Step, spool: Spool, model: Model): void {
  if (step.do === "push of a run") {
    for (const other of others.slice(0, step.skipped)) frameRuns.add(other);
    if (step.isAgain) pushOfRun(latest.payload, latest.frame, { spool, model });
    for (const size of step.sizes) {
      latest = oneOfRun(size);
      pushOfRun(latest.payload, latest.frame, { spool, model });
    }
  } else if (step.do === "push") {
    const payload = message(step.size);
    model.kept.push({ flags: step.flags, payload: payload.slice() });
    spool.push(step.flags, payload, step.isShared ? IN_NO_RUN : undefined);
    if (!step.isShared) payload.fill(0xdd);
  } else if (step.do === "next") expectSame(read(spool), model.next());
  else if (step.do === "clear") {
    spool.clear();
    model.kept = [];
    model.given = 0;
  } else {
    // Only what was given out can have arrived.
    const most = step.do === "drop" ? model.given : model.kept.length;
    const count = Math.round(step.share * most);
    if (step.do === "drop") expect(spool.drop(count)).toBe(model.drop(count));
    else {
      spool.rewind(count);
      model.given = count;
    }
  }
  expect(spool.messages).toBe(model.kept.length);
  expect(spool.bytes).toBe(model.bytes);
}

test("a spool gives out each message once and whole, and again from the message that it is told", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const spool = new Spool();
      const model = new Model();
      for (const step of steps) perform(step, spool, model);
      expectSame(read(spool), model.next());
      spool.rewind(0);
      expectSame(read(spool), model.kept);
    }),
    { numRuns: Number(process.env.HAWSER_RUNS ?? 200) },
  );
}, 120_000);

test("a spool does not change bytes that it has given out", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: "max" }), (steps) => {
      const spool = new Spool();
      const model = new Model();
      const given: { piece: Uint8Array; copy: Uint8Array }[] = [];
      for (const step of steps) {
        if (step.do === "next") {
          for (let piece = nextOf(spool); piece !== undefined; piece = nextOf(spool)) {
            given.push({ piece, copy: piece.slice() });
          }
          model.next();
        } else perform(step, spool, model);
      }
      // The bytes may wait for the socket while the spool continues.
      for (const { piece, copy } of given) expect(Buffer.compare(piece, copy)).toBe(0);
    }),
    { numRuns: Number(process.env.HAWSER_RUNS ?? 100) },
  );
}, 120_000);

/** The bytes of all pieces that a spool gives out, without those that are in the buffer of `payload`. */
function ownBytes(spool: Spool, payload: Uint8Array): number {
  let bytes = 0;
  for (let piece = nextOf(spool); piece !== undefined; piece = nextOf(spool)) {
    if (piece.buffer !== payload.buffer) bytes += piece.length;
  }
  return bytes;
}

test("spools share the bytes of a message that many sessions send, unless it is smaller than a reference", () => {
  const shared = message(1000);
  for (const spool of [new Spool(), new Spool()]) {
    spool.push(0, shared, IN_NO_RUN);
    expect(ownBytes(spool, shared)).toBe(5);
  }
  const tiny = message(15);
  const spool = new Spool();
  spool.push(0, tiny, IN_NO_RUN);
  expect(ownBytes(spool, tiny)).toBe(20);
});

/** The messages of a run, for the spools of several sessions. */
function runOf(count: number, size: number) {
  return Array.from({ length: count }, () => oneOfRun(size));
}

test("spools keep messages that many sessions send as parts of one run, and give them out as one piece", () => {
  // All of them are in a new run.
  while (oneOfRun(2000).frame.start !== 0);
  const run = runOf(50, 60);
  const [one, two] = [new Spool(), new Spool()].map((spool) => {
    for (const { payload, frame } of run) spool.push(0, payload, frame);
    return spool;
  }) as [Spool, Spool];
  const piece = nextOf(one) as Uint8Array;
  expect(piece).toHaveLength(50 * 65);
  expect(nextOf(two)?.buffer).toBe(piece.buffer);
});

test("a spool copies the messages of a run if each of them is alone there: a part of a run takes more memory than one message", () => {
  const spool = new Spool();
  const mine: Uint8Array[] = [];
  for (let n = 0; n < 10; n++) {
    const { payload, frame } = oneOfRun(20);
    spool.push(0, payload, frame);
    mine.push(payload);
    oneOfRun(20);
  }
  expect(nextOf(spool)).toHaveLength(25);
  expect(nextOf(spool)).toHaveLength(9 * 25);
});

test("a spool copies messages rather than keep many runs alive by a few messages of each", () => {
  const spool = new Spool();
  const runs = new Set<ArrayBufferLike>();
  for (let n = 0; n < 100; n++) {
    for (const { payload, frame } of runOf(2, 20)) spool.push(0, payload, frame);
    for (const other of others) frameRuns.add(other);
  }
  for (let piece = spool.next(); piece !== undefined; piece = spool.next()) {
    if (piece.buffer.byteLength === 16 * 1024) runs.add(piece.buffer);
  }
  // Each of the 100 pairs, of 40 bytes, is in another run.
  expect(runs.size).toBeGreaterThan(0);
  expect(runs.size).toBeLessThanOrEqual(3);
});

test("the memory of a run is freed when newer runs have begun, and calls that are late send each message by itself", () => {
  const { payload, frame } = oneOfRun(20);
  expect(frame.run.bytes).toBeDefined();
  for (let n = 0; n < 3; n++) for (const other of others) frameRuns.add(other);
  expect(frame.run.bytes).toBeUndefined();
  const spool = new Spool();
  spool.push(0, payload, frame);
  expectSame(read(spool), [{ flags: 0, payload }]);
});

describe("messages that are not copied", () => {
  const small = message(3);
  const large = message(LARGE + 1);

  function spoolOf(...payloads: Uint8Array[]): Spool {
    const spool = new Spool();
    for (const payload of payloads) spool.push(0, payload, IN_NO_RUN);
    return spool;
  }

  test.each([
    ["between small ones", [small, large, small]],
    ["first", [large, small]],
    ["last", [small, small, large]],
    ["one after the other", [large, large]],
    ["alone", [large]],
  ])("messages that are not copied (%s) are given out again from any message on", (_, payloads) => {
    for (let from = 0; from <= payloads.length; from++) {
      for (const given of [false, true]) {
        const spool = spoolOf(...payloads);
        if (given) read(spool);
        spool.rewind(from);
        expectSame(
          read(spool),
          payloads.slice(from).map((payload) => ({ flags: 0, payload })),
        );
      }
    }
  });

  test.each([
    ["between small ones", [small, large, small]],
    ["first", [large, small]],
    ["last", [small, small, large]],
    ["one after the other", [large, large]],
  ])("messages that are not copied (%s) are dropped up to any message", (_, payloads) => {
    for (let upTo = 0; upTo <= payloads.length; upTo++) {
      const spool = spoolOf(...payloads);
      read(spool);
      const bytes = payloads.slice(0, upTo).reduce((sum, { length }) => sum + length, 0);
      expect(spool.drop(upTo)).toBe(bytes);
      spool.rewind(0);
      expectSame(
        read(spool),
        payloads.slice(upTo).map((payload) => ({ flags: 0, payload })),
      );
    }
  });
});

test("a spool copies messages that no other spool keeps: their memory may be used again", () => {
  const spool = new Spool();
  const payloads = [3, 600, LARGE, LARGE + 1, 70_000].map(message);
  const sent = payloads.map((payload) => ({ flags: 0, payload: payload.slice() }));
  for (const payload of payloads) {
    spool.push(0, payload);
    payload.fill(0xdd);
  }
  expectSame(read(spool), sent);
});

test("a large message has memory of its size", () => {
  const spool = new Spool();
  spool.push(0, message(15));
  spool.push(0, message(70_000));
  spool.push(0, message(15));
  const pieces = [nextOf(spool), nextOf(spool), nextOf(spool)];
  expect(pieces.map((piece) => piece?.length)).toEqual([20, 70_005, 20]);
  // Buffers that are used again have sizes rounded up by a sixteenth at most.
  expect(pieces[1]?.buffer.byteLength).toBeLessThanOrEqual((70_005 * 17) / 16);
});

/** Sends a large message, and returns the memory that the spool kept it in. */
function memoryOfLarge(spool: Spool): ArrayBufferLike {
  spool.push(0, message(70_000));
  return (nextOf(spool) as Uint8Array).buffer;
}

/** Sends a small message, and returns the memory that the spool kept it in. */
function memoryOfSmall(spool: Spool): Uint8Array {
  spool.push(0, message(100));
  const memory = spool.next() as Uint8Array;
  while (spool.next() !== undefined);
  return memory;
}

test.each([
  ["large", memoryOfLarge],
  ["small", memoryOfSmall],
])("the memory of an acknowledged %s message is used for the next one", (_, memoryOf) => {
  const spool = new Spool();
  const memory = memoryOf(spool);
  spool.drop(1, 0);
  expect(memoryOf(spool)).toBe(memory);
});

test("the memory of a small message is not used again while the stream may still read it", () => {
  const spool = new Spool();
  const memory = memoryOfSmall(spool);
  spool.drop(1, 1);
  expect(memoryOfSmall(spool)).not.toBe(memory);
  const sentBefore = memoryOfSmall(spool);
  spool.rewind(0);
  while (spool.next() !== undefined);
  spool.drop(2, 0);
  expect(memoryOfSmall(spool)).not.toBe(sentBefore);
});

test("the memory of acknowledged messages serves other sessions, and only some of it is kept", () => {
  const spools = Array.from({ length: 2000 }, () => new Spool());
  const before = new Set(spools.map(memoryOfSmall));
  expect(before.size).toBe(2000);
  for (const spool of spools) spool.drop(1, 0);
  const after = spools.map(memoryOfSmall);
  expect(new Set(after).size).toBe(2000);
  // 256 KiB of 512 bytes each.
  expect(after.filter((memory) => before.has(memory))).toHaveLength(512);
});

test("the memory of an acknowledged message is not used again while the stream may still read it", () => {
  const spool = new Spool();
  const waiting = memoryOfLarge(spool);
  spool.drop(1, 1);
  expect(memoryOfLarge(spool)).not.toBe(waiting);
  // Of two messages the first has left the stream, and the end of the second waits.
  const first = memoryOfLarge(spool);
  spool.drop(2, 70_005);
  expect(memoryOfLarge(spool)).not.toBe(first);
});

test("the memory of a message that was sent on an earlier stream is not used again: that stream may still read it", () => {
  const spool = new Spool();
  const memory = memoryOfLarge(spool);
  spool.rewind(0);
  nextOf(spool);
  spool.drop(1, 0);
  expect(memoryOfLarge(spool)).not.toBe(memory);
});

test("a spool frees the memory of acknowledged messages", () => {
  const spool = new Spool();
  for (let round = 0; round < 100; round++) {
    for (let n = 0; n < 100; n++) spool.push(0, message(100));
    read(spool);
    spool.drop(99 + (round === 0 ? 0 : 1));
  }
  expect(spool.messages).toBe(1);
  spool.rewind(0);
  const piece = nextOf(spool) as Uint8Array;
  // The message keeps only one chunk of memory alive.
  expect(piece.buffer.byteLength).toBeLessThanOrEqual(32 * 1024);
});

test("a piece may grow while it is small and the last one", () => {
  const spool = new Spool();
  expect(spool.isGrowing).toBe(false);
  const push = (count: number, bytes: number) => {
    for (let n = 0; n < count; n++) spool.push(0, new Uint8Array(bytes));
  };
  push(20, 15);
  expect(spool.isGrowing).toBe(true);
  expect(nextOf(spool)).toHaveLength(20 * 20);
  expect(nextOf(spool)).toBeUndefined();
  // 512 bytes are the first chunk: what does not fit is a second piece.
  push(20, 15);
  expect(spool.isGrowing).toBe(false);
  while (spool.next() !== undefined);
  push(1, LARGE + 1);
  expect(spool.isGrowing).toBe(false);
  while (spool.next() !== undefined);
  push(4, 2043);
  expect(spool.isGrowing).toBe(false);
  spool.rewind(spool.messages - 1);
  expect(spool.isGrowing).toBe(true);
});
