import type { TopicsPage } from "./log.ts";

/**
 * Compares the names of two topics in the order of their UTF-8, in which TopicLog.topics() returns
 * them: negative if `a` comes before `b`. JavaScript compares by UTF-16, which orders surrogate
 * pairs differently.
 */
export function compareTopics(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at++) {
    const [left, right] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/**
 * A half of a surrogate pair belongs to a code point above U+FFFF, so it ranks after every code
 * point of a single unit.
 */
function rank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}

/**
 * Returns the index at which a name is in a list that is in the order of topics, or at which it would be inserted: that of
 * the first name that is not before it.
 */
export function placeInTopics(sorted: readonly string[], name: string): number {
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
  for (let at = placeInTopics(sorted, first); at < sorted.length && names.length < limit; at++) {
    const name = sorted[at] as string;
    if (!name.startsWith(prefix)) break;
    if (name !== after && counts(name)) names.push(name);
  }
  return names;
}
