import { compareTopics } from "hawser/topics";

/** Where a text stands in a list that is sorted as names of topics are, or would stand. */
export function placeIn(sorted: readonly string[], text: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareTopics(sorted[middle] as string, text) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
