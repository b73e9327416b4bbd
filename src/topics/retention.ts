import { type Checks, positiveOrInfinite } from "../options.ts";
import type { Retention } from "./log.ts";

/** The limits of a topic; Infinity stands for no limit. The newest record is kept, however large it is. */
export type RetentionLimits = Required<Retention>;

export const retentionChecks = {
  ageMs: positiveOrInfinite,
  records: positiveOrInfinite,
  bytes: positiveOrInfinite,
} satisfies Checks<Retention>;

/** Returns the limits that the option `retention` sets. */
export function retentionLimitsOf(retention: Retention = {}): RetentionLimits {
  const { ageMs = Infinity, records = Infinity, bytes = Infinity } = retention;
  return { ageMs, records: Math.max(Math.floor(records), 1), bytes };
}
