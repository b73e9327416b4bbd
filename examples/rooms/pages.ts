/** Pages of rooms and of members, by the rules of room.proto. */
import { placeInTopics } from "hawser/topics";
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
