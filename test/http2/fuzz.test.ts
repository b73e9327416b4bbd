/** Engines that receive anything: whatever comes, receive() does not throw, listeners are called in order, and nothing is left. */
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { replay } from "../support/replay.ts";
import { PREFACE, settings } from "../support/wire.ts";
import { End } from "./support/end.ts";
import { answering, request } from "./support/exchanges.ts";
import { checkEnd, step, take } from "./support/fuzz.ts";
import { whole } from "./support/link.ts";
import { Random } from "./support/random.ts";
import { replayed } from "./support/replayed.ts";
import { readTranscript, transcriptNames } from "./transcripts/transcript.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

const role = fc.constantFrom("server" as const, "client" as const);
const options = fc.record({
  role,
  streamWindowBytes: fc.constantFrom(100, 65_535, 2 ** 20),
  connectionWindowBytes: fc.constantFrom(65_535, 8 * 2 ** 20),
  maxConcurrentStreams: fc.constantFrom(1, 3, 100),
  maxHeaderListBytes: fc.constantFrom(200, 65_536),
  abuseBudget: fc.constantFrom(10, 1000),
  blocksWhenFull: fc.boolean(),
});

test("any frames in any order, with right and wrong lengths, flags and ids", () => {
  const property = fc.property(options, fc.array(step, { maxLength: 60 }), (options, steps) => {
    const end = new End({ ...options, ...(options.role === "server" && answering) });
    end.receive(options.role === "server" ? Buffer.concat([PREFACE, settings()]) : settings());
    if (options.role === "client") {
      for (const path of ["/unary", "/echo"]) end.open(request(path));
    }
    for (const one of steps) take(end, one);
    checkEnd(end);
  });
  fc.assert(property, replay(2000));
});

test("bytes that are no HTTP/2", () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  const property = fc.property(role, fc.boolean(), bytes, (role, hasPreface, bytes) => {
    const end = new End({ role });
    if (hasPreface && role === "server") end.receive(PREFACE);
    end.receive(bytes);
    checkEnd(end);
  });
  fc.assert(property, replay(1000));
});

const recorded = new Map(transcriptNames.map((name) => [name, readTranscript(name).chunks]));

test("recorded bytes of which some bits are wrong", () => {
  const property = fc.property(
    fc.constantFrom(...transcriptNames),
    role,
    fc.record({ seed: fc.integer(), flips: fc.integer({ min: 1, max: 5 }) }),
    (name, role, { seed, flips }) => {
      const sent = recorded.get(name) ?? [];
      const random = new Random(seed);
      const received = sent.map(({ from, bytes }) => ({ from, bytes: Buffer.from(bytes) }));
      const others = received.filter(({ from }) => from !== role);
      for (let n = 0; n < flips; n++) {
        const { bytes } = random.pick(others);
        // The frames at the beginning of a chunk rather than the data of a large message.
        const at = random.below(random.chance(0.7) ? Math.min(bytes.length, 100) : bytes.length);
        bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
      }
      const cut = random.chance(0.5)
        ? whole
        : () => 1 + random.below(random.chance(0.5) ? 20 : 20_000);
      checkEnd(replayed(role, { sent, received, cut }));
    },
  );
  fc.assert(property, replay(120));
});

test("recorded bytes that end anywhere", () => {
  const property = fc.property(
    fc.constantFrom(...transcriptNames),
    role,
    fc.integer(),
    (name, role, seed) => {
      const random = new Random(seed);
      const all = recorded.get(name) ?? [];
      const sent = all.slice(0, 1 + random.below(all.length));
      const received = sent.map((chunk, index) => {
        if (index < sent.length - 1) return chunk;
        return { ...chunk, bytes: chunk.bytes.subarray(0, random.below(chunk.bytes.length)) };
      });
      const end = replayed(role, { sent, received, cut: whole });
      if (end.end === undefined) end.connection.endOfInput();
      if (end.end?.by !== "goaway") expect(end.end).toMatchObject({ by: "lost", reason: "" });
      checkEnd(end);
    },
  );
  fc.assert(property, replay(80));
});
