import {
  type Checks,
  checkOptions,
  notNegativeOrInfinite,
  text,
  wholeOrInfinite,
} from "../options.ts";
import { PAGE, type PageLimits, type TopicsPage } from "./log.ts";
import { compareTopics } from "./topic.ts";

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

/** Returns the index of the first name in a sorted list that is not before this one. */
export function placeOf(sorted: readonly string[], name: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareTopics(sorted[middle] as string, name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Returns the names of a page in a sorted list, which may have names that do not count. */
export function namesOf(
  sorted: readonly string[],
  { prefix, after, limit }: Required<TopicsPage> & { readonly prefix: string },
  counts: (name: string) => boolean = () => true,
): string[] {
  const names: string[] = [];
  const first = compareTopics(after, prefix) < 0 ? prefix : after;
  for (let at = placeOf(sorted, first); at < sorted.length && names.length < limit; at++) {
    const name = sorted[at] as string;
    if (!name.startsWith(prefix)) break;
    if (name !== after && counts(name)) names.push(name);
  }
  return names;
}
