import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import type { Retention } from "./log.ts";

/** What a topic keeps, with nothing left open. The newest record stays, however large it is. */
export type Kept = Required<Retention>;

/** Throws INVALID_ARGUMENT where a limit is not above 0. */
export function keptOf(retention: Retention = {}): Kept {
  const { ageMs = Infinity, records = Infinity, bytes = Infinity } = retention;
  for (const [name, limit] of Object.entries({ ageMs, records, bytes })) {
    if (!(limit > 0)) {
      throw failure(
        Code.InvalidArgument,
        `retention.${name} is ${limit}: give it a number above 0, or leave it out to keep everything`,
      );
    }
  }
  return { ageMs, records: Math.max(Math.floor(records), 1), bytes };
}
