/** Compares the writer of a SQLite log with a model, under random crashes, full disks, trims and retention. */
import { copyFileSync, existsSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { retentionLimitsOf } from "../src/topics/retention.ts";
import { type Append, FileWriter } from "../src/topics/sqlite/writer.ts";
import { temporary } from "./support/temporary.ts";

const TOPICS = ["a", "b", "c"];
const PRODUCERS = ["p", "q", "r", "s"];
const PAGE_BYTES = 4096;
const ORPHANS =
  "SELECT count(*) FROM produced WHERE position NOT IN (SELECT position FROM records)";

let folder: string;
beforeEach(async () => {
  folder = await temporary();
});
afterEach(() => rm(folder, { recursive: true }));

/** Returns a function that makes random integers from 0 to below a bound; the same seed makes the same numbers. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** The records that the writer must have. */
class Model {
  /** The positions of records. The key is made of topic, producer and sequence. */
  readonly stored = new Map<string, number>();
  /** The position up to which each topic was trimmed. */
  readonly gone = new Map<string, number>();
  /** The highest sequence sent so far. The key is made of topic and producer. */
  readonly sent = new Map<string, number>();

  /** Returns the position that a record must have. */
  find(topic: string, key: string): number | undefined {
    const position = this.stored.get(`${topic} ${key}`) ?? 0;
    return position > (this.gone.get(topic) ?? 0) ? position : undefined;
  }
}

/** Copies a file as a crash would leave it. Tests continue with the copy. */
function copyAsCrashed(from: string, to: string): string {
  for (const end of ["", "-wal"]) {
    if (existsSync(`${from}${end}`)) copyFileSync(`${from}${end}`, `${to}${end}`);
  }
  return to;
}

/** An append of random records to one topic; some of them were sent before. */
function randomAppend(topic: string, model: Model, random: (below: number) => number): Append {
  const records = Array.from({ length: 1 + random(150) }, () => {
    const producer = PRODUCERS[random(4)] as string;
    const sent = model.sent.get(`${topic} ${producer}`) ?? 0;
    const isNew = sent === 0 || random(10) < 7;
    const sequence = isNew ? sent + 1 : 1 + (random(2) === 0 ? random(sent) : sent - 1);
    model.sent.set(`${topic} ${producer}`, Math.max(sent, sequence));
    return { data: new Uint8Array(random(60)), producer, sequence: BigInt(sequence) };
  });
  return { topic, nowMs: 1, records };
}

test.each([2, 4])(
  "a record is stored once while it is kept, and found at its first position (seed %i)",
  (seed) => {
    const random = randomFrom(seed);
    const model = new Model();
    let path = `${folder}/0.db`;
    let [repeats, news, failures] = [0, 0, 0];
    for (let life = 1; life <= 12; life++) {
      const retention = retentionLimitsOf(random(3) === 0 ? { records: 500 + random(3000) } : {});
      const pages = Math.ceil((statSync(path, { throwIfNoEntry: false })?.size ?? 0) / PAGE_BYTES);
      const maxPages = random(3) === 0 ? pages + 20 + random(60) : undefined;
      const writer = new FileWriter(
        { role: "writer", path, retention, maxBytes: Infinity, maxPages },
        "0".repeat(16),
        1,
      );
      const file = new Database(path, { readonly: true });
      const trimmed = file.prepare("SELECT trimmed FROM topics WHERE name = ?").pluck();
      for (let step = 0; step < 40; step++) {
        const appends = Array.from({ length: 1 + random(3) }, () =>
          randomAppend(TOPICS[random(3)] as string, model, random),
        );
        const { taken, outcomes } = writer.append(appends);
        for (const [n, outcome] of outcomes.entries()) {
          const { topic, records } = taken[n] as Append;
          if ("code" in outcome) {
            failures++;
            continue;
          }
          for (const [at, position] of outcome.positions.entries()) {
            const { producer, sequence } = records[at] as Append["records"][number];
            const key = `${producer} ${sequence}`;
            const known = model.find(topic, key);
            const found = position < 0 ? -position : undefined;
            // A matcher would be too slow for 100,000 comparisons.
            if (found !== known) throw new Error(`${topic} ${key} is at ${known}, not ${found}`);
            if (known === undefined) model.stored.set(`${topic} ${key}`, position);
            if (known === undefined) news++;
            else repeats++;
          }
        }
        if (random(8) === 0) {
          const topic = TOPICS[random(3)] as string;
          const all = [...model.stored].filter(([key]) => key.startsWith(`${topic} `));
          const upTo = all[random(all.length)]?.[1] ?? 0;
          try {
            writer.trim(topic, upTo);
          } catch {
            failures++;
          }
        }
        for (let sweeps = random(3) === 0 ? random(9) : 0; sweeps > 0; sweeps--) {
          try {
            writer.sweep(1);
          } catch {
            failures++;
          }
        }
        for (const topic of TOPICS) model.gone.set(topic, (trimmed.get(topic) as number) ?? 0);
      }
      // Deleted records leave no entries in the table.
      expect(file.prepare(ORPHANS).pluck().get()).toBe(0);
      file.close();
      const next = copyAsCrashed(path, `${folder}/${life}.db`);
      writer.close();
      path = next;
    }
    expect(Math.min(repeats, news, failures)).toBeGreaterThan(0);
    expect(news).toBeGreaterThan(3 * 8192);
  },
  // The time for 480 commits to a disk on a busy machine.
  60_000,
);
