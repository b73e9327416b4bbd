/** Pages of rooms and of members, by the rules of room.proto. */
import { compareTopics, placeInTopics } from "hawser/topics";
import { invalid } from "./checks.ts";

/** The size of a page: the default, and the largest that a client may ask for. */
const PAGE_SIZE = { default: 100, max: 1000 };

/**
 * Returns the size of a page that a client asks for; 0 means the default. Throws INVALID_ARGUMENT
 * if it is above the maximum.
 */
export function readPageSize(size: number): number {
  if (size > PAGE_SIZE.max) throw invalid(`page_size is ${size}: ask for ${PAGE_SIZE.max} at most`);
  return size || PAGE_SIZE.default;
}

/** Merges two lists that are sorted by UTF-8 bytes. What is in both is once in the result. */
export function merged(one: readonly string[], other: readonly string[]): string[] {
  const all: string[] = [];
  let at = 0;
  for (const name of other) {
    for (
      let next = one[at];
      next !== undefined && compareTopics(next, name) < 0;
      next = one[++at]
    ) {
      all.push(next);
    }
    if (one[at] !== name) all.push(name);
  }
  for (; at < one.length; at++) all.push(one[at] as string);
  return all;
}

/**
 * Returns up to `size` entries that follow `after` in a list sorted by UTF-8 bytes, and whether
 * there are more.
 */
export function pageOf(
  sorted: readonly string[],
  after: string,
  size: number,
): { page: string[]; more: boolean } {
  const place = placeInTopics(sorted, after);
  const from = sorted[place] === after ? place + 1 : place;
  return { page: sorted.slice(from, from + size), more: from + size < sorted.length };
}
