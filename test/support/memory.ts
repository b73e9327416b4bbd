import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** The memory of this process after a garbage collection, in bytes. */
export async function memoryInUse(): Promise<number> {
  for (let n = 0; n < 3; n++) {
    collectGarbage();
    await new Promise((turn) => setImmediate(turn));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/**
 * Starts to count, without garbage; each call of what comes back says how many bytes of buffers have been allocated
 * since, garbage included.
 */
export async function countBuffers(): Promise<() => number> {
  await memoryInUse();
  const { arrayBuffers } = process.memoryUsage();
  return () => process.memoryUsage().arrayBuffers - arrayBuffers;
}
