import {
  type Checks,
  checkOptions,
  notNegativeOrInfinite,
  text,
  wholeOrInfinite,
} from "../options.ts";
import { PAGE, type PageLimits, type TopicsPage } from "./log.ts";

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

const topicsChecks = {
  after: text,
  limit: wholeOrInfinite,
} satisfies Checks<TopicsPage>;

/** Returns a page of names of topics with its defaults. Throws INVALID_ARGUMENT for an invalid value. */
export function topicsPageOf(prefix: string, page: TopicsPage): Required<TopicsPage> {
  text(prefix, { of: "topics", option: "prefix" });
  checkOptions("topics", page, topicsChecks);
  const { after = "", limit = Number.POSITIVE_INFINITY } = page;
  return { after, limit };
}
