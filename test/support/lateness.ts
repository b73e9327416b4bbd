/** How late this process is: on a busy machine it runs when others let it, and so do all its timers. */
export interface Lateness extends Disposable {
  /** By how much timers of 10 ms were late so far, all together. */
  readonly ms: number;
}

const EVERY_MS = 10;

export function measureLateness(): Lateness {
  let total = 0;
  let last = performance.now();
  const look = () => {
    const now = performance.now();
    total += Math.max(now - last - EVERY_MS, 0);
    last = now;
  };
  const timer = setInterval(look, EVERY_MS);
  return {
    get ms() {
      look();
      return total;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
