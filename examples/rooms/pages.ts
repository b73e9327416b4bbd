/** Pages of rooms and of members, by the rules of room.proto. */
import { invalid } from "./checks.ts";
import { placeIn } from "./sorted.ts";

/** The size of a page: the default, and the most that a client may ask for. */
const PAGE = { usual: 100, most: 1000 };

/** Returns the size of a page that a client asks for. Throws INVALID_ARGUMENT if it is above the maximum. */
export function readPageSize(size: number): number {
  if (size > PAGE.most) throw invalid(`page_size is ${size}: ask for ${PAGE.most} at most`);
  return size || PAGE.usual;
}

/** Returns at most `size` texts after `after` from a list in the order of its UTF-8, and whether more follow. */
export function pageOf(
  sorted: readonly string[],
  after: string,
  size: number,
): { page: string[]; more: boolean } {
  const place = placeIn(sorted, after);
  const from = sorted[place] === after ? place + 1 : place;
  return { page: sorted.slice(from, from + size), more: from + size < sorted.length };
}
