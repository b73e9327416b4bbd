/** An engine plays each side of the recorded connections: it gets the bytes of the other side. */
import { describe, expect, test, vi } from "vitest";
import { byteByByte, type Cut, whole } from "./support/link.ts";
import { reportOf } from "./support/outcome.ts";
import { Random } from "./support/random.ts";
import { replayed } from "./support/replayed.ts";
import { readExpected } from "./transcripts/expected.ts";
import { readTranscript, transcriptNames } from "./transcripts/transcript.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

function ragged(seed: number): Cut {
  const random = new Random(seed);
  return () => 1 + random.below(random.chance(0.5) ? 12 : 600);
}

const cuts = [
  { how: "in the recorded chunks", cut: () => whole },
  { how: "byte by byte", cut: () => byteByByte },
  { how: "in pieces of any size", cut: () => ragged(7) },
];

describe.each(transcriptNames)("%s", (name) => {
  const { chunks } = readTranscript(name);
  describe.each(["server", "client"] as const)("to an engine as the %s", (role) => {
    test.each(cuts)("$how", ({ cut }) => {
      const end = replayed(role, { sent: chunks, received: chunks, cut: cut() });
      if (end.end === undefined) end.connection.endOfInput();
      expect(end.violations).toEqual([]);
      // The reason of a GOAWAY is what the peer says.
      if (end.end?.by !== "goaway") expect(end.end).toMatchObject({ by: "lost", reason: "" });
      const reported = end.streams.map((log) => [log.stream.id, reportOf(log)]);
      expect(Object.fromEntries(reported)).toEqual(readExpected(name)[role]);
    });
  });
});
