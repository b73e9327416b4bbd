import { type Checks, positiveOrInfinite } from "../options.ts";
import type { Retention } from "./log.ts";

/** What a topic keeps, with nothing left open. The newest record stays, however large it is. */
export type Kept = Required<Retention>;

/** What may be said of what a topic keeps. */
export const retentionChecks = {
  ageMs: positiveOrInfinite,
  records: positiveOrInfinite,
  bytes: positiveOrInfinite,
} satisfies Checks<Retention>;

/** What a topic keeps; what is left out is not limited. */
export function keptOf(retention: Retention = {}): Kept {
  const { ageMs = Infinity, records = Infinity, bytes = Infinity } = retention;
  return { ageMs, records: Math.max(Math.floor(records), 1), bytes };
}
