import { type Checks, checkOptions, notNegativeOrInfinite } from "../options.ts";
import { PAGE, type PageLimits } from "./log.ts";

const checks = {
  records: notNegativeOrInfinite,
  bytes: notNegativeOrInfinite,
} satisfies Checks<PageLimits>;

/** Returns the limits of a page, with their defaults. Throws INVALID_ARGUMENT for an invalid value. */
export function pageLimitsOf(limits: PageLimits): Required<PageLimits> {
  checkOptions("page", limits, checks);
  const { records = PAGE.records, bytes = PAGE.bytes } = limits;
  return { records, bytes };
}
