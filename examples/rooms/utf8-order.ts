/** Compares two texts in the order of their UTF-8, which is that of their code points. */
export function inUtf8Order(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at++) {
    const [left, right] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** Halves of surrogate pairs stand for what is behind all that a single unit of UTF-16 can be. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}

/** Where a text stands in a sorted list, or would stand. */
export function placeIn(sorted: readonly string[], text: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (inUtf8Order(sorted[middle] as string, text) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
