import type { Appended, NewRecord } from "../log.ts";
import type { AppendMessage } from "./message.ts";

/** An owner that has appends in a log. */
export interface Owner {
  readonly key: unknown;
  readonly number: number;
  /** How many. */
  appends: number;
}

/** An append that the writer has not acknowledged. */
export interface PendingAppend {
  /** The appends of a log are counted from 1. */
  readonly number: number;
  readonly owner: Owner | undefined;
  readonly topic: string;
  readonly records: readonly NewRecord[];
  readonly bytes: number;
  readonly outcome: PromiseWithResolvers<Appended[]>;
  /** The bytes of each record, if a reader followed the topic when the records were sent to the writer. */
  payloads?: readonly Uint8Array[];
}

/** Returns how many bytes records count for while they wait. */
export function sizeOf(records: readonly NewRecord[]): number {
  let bytes = 0;
  for (const { data, id } of records) bytes += data.length + (id?.producer.length ?? 0);
  return bytes;
}

/** Packs appends into columns, and their bytes into one buffer. */
export function pack(appends: readonly PendingAppend[]): AppendMessage {
  const records = appends.flatMap(({ records }) => records);
  const hasIds = records.some(({ id }) => id !== undefined);
  const data = new Uint8Array(records.reduce((sum, { data }) => sum + data.length, 0));
  let at = 0;
  for (const record of records) {
    data.set(record.data, at);
    at += record.data.length;
  }
  return {
    kind: "append",
    nowMs: Date.now(),
    first: appends[0]?.number ?? 0,
    topics: appends.map(({ topic }) => topic),
    owners: appends.map(({ owner }) => owner?.number ?? 0),
    counts: appends.map(({ records }) => records.length),
    sizes: records.map(({ data }) => data.length),
    producers: hasIds ? records.map(({ id }) => id?.producer ?? null) : undefined,
    // SQLite's integers are signed.
    sequences: hasIds ? records.map(({ id }) => BigInt.asIntN(64, id?.sequence ?? 0n)) : undefined,
    data,
  };
}

/** Keeps for each append the bytes of its records, as views of the message's buffer. */
export function keepPayloads(
  appends: readonly PendingAppend[],
  { sizes, data }: AppendMessage,
): void {
  let [record, at] = [0, 0];
  for (const append of appends) {
    append.payloads = append.records.map(() => {
      const from = at;
      at += sizes[record++] as number;
      return data.subarray(from, at);
    });
  }
}
