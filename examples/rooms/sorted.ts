import { compareTopics } from "hawser/topics";

/**
 * Returns the index of a text in a list that is sorted like names of topics, or the index at which
 * it would be inserted.
 */
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
