import { type Checks, positiveOrInfinite } from "../options.ts";
import type { Retention } from "./log.ts";

/** The limits of a topic; one that is left out is Infinity. The newest record stays, however large it is. */
export type RetentionLimits = Required<Retention>;

export const retentionChecks = {
  ageMs: positiveOrInfinite,
  records: positiveOrInfinite,
  bytes: positiveOrInfinite,
} satisfies Checks<Retention>;

/** The limits that an option `retention` sets. */
export function retentionLimitsOf(retention: Retention = {}): RetentionLimits {
  const { ageMs = Infinity, records = Infinity, bytes = Infinity } = retention;
  return { ageMs, records: Math.max(Math.floor(records), 1), bytes };
}
