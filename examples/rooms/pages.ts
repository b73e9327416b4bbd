/** Pages of rooms and of members, as room.proto has them. */
import { invalid } from "./checks.ts";
import { placeIn } from "./sorted.ts";

/** How many a page has: where the client does not say, and at most. */
const PAGE = { usual: 100, most: 1000 };

/** How many a page has at most; throws where more are asked for. */
export function readPageSize(size: number): number {
  if (size > PAGE.most) throw invalid(`page_size is ${size}: ask for ${PAGE.most} at most`);
  return size || PAGE.usual;
}

/** So many of a list in the order of its UTF-8, behind a text; and whether there are more. */
export function pageOf(
  sorted: readonly string[],
  after: string,
  size: number,
): { page: string[]; more: boolean } {
  const place = placeIn(sorted, after);
  const from = sorted[place] === after ? place + 1 : place;
  return { page: sorted.slice(from, from + size), more: from + size < sorted.length };
}
