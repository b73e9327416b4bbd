import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { show, wrong } from "../options.ts";
import type { NewRecord } from "./log.ts";

/** The number of sequences, from 0 to 2^64 - 1. */
const SEQUENCES = 2n ** 64n;

/**
 * Throws INVALID_ARGUMENT if one of the records cannot be stored. Logs call it before they store
 * any record: an append with a bad record stores none.
 */
export function checkRecords(records: readonly NewRecord[]): void {
  if (!Array.isArray(records)) {
    throw wrong({ of: "append", option: "records" }, records, "an array");
  }
  for (const [n, record] of records.entries()) {
    if (typeof record !== "object" || record === null) {
      throw invalid(n, `it is ${show(record)}, and must be { data }`);
    }
    const { data, id } = record;
    if (!(data instanceof Uint8Array)) {
      throw invalid(n, `data is ${show(data)}, and must be a Uint8Array`);
    }
    if (id === undefined) continue;
    const { producer, sequence } = id;
    if (typeof producer !== "string") throw invalid(n, "id.producer is no string");
    if (!producer.isWellFormed()) throw invalid(n, "id.producer has half a surrogate pair in it");
    if (typeof sequence !== "bigint") throw invalid(n, "id.sequence is no bigint");
    if (sequence < 0n || sequence >= SEQUENCES) {
      throw invalid(n, `id.sequence is ${sequence}: it must be from 0 to 2^64 - 1`);
    }
  }
}

function invalid(n: number, what: string) {
  return failure(Code.InvalidArgument, `record ${n + 1} of the append cannot be stored: ${what}`);
}
