/** The spool of unacknowledged messages, compared with a plain list that follows the same rules. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IN_NO_RUN, type SharedFrame } from "../src/call-stream.ts";
import { frameRuns } from "../src/codec/frame-runs.ts";
import { Spool } from "../src/session/spool.ts";
import {
  expectSame,
  type Kept,
  message,
  nextOf,
  oneOfRun,
  others,
  read,
} from "./support/spool-messages.ts";

/** A message of this many bytes or more is not copied. */
const LARGE = 16 * 1024;

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

let latest = oneOfRun(20);

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
    if (step.do === "drop") {
      const before = spool.bytes;
      spool.drop(count);
      expect(before - spool.bytes).toBe(model.drop(count));
    } else {
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
      const before = spool.bytes;
      spool.drop(upTo);
      expect(before - spool.bytes).toBe(bytes);
      spool.rewind(0);
      expectSame(
        read(spool),
        payloads.slice(upTo).map((payload) => ({ flags: 0, payload })),
      );
    }
  });
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
