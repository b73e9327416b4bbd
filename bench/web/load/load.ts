/** Runs the load of a job, in a page or on Node, and measures it after a warm-up. */
import type { Loaded, LoadJob, Tell, Workload } from "../job.ts";

/** The time for a loop to end, when it has been told. */
const END_MS = 20_000;

/** Counts messages, and stops the loop. */
export class Gauge {
  running = true;
  messages = 0;
}

/** A connection to a server under load. Each loop runs until `gauge.running` is false. */
export type Loops = Partial<Record<Workload, (size: number, gauge: Gauge) => Promise<void>>> & {
  close(): unknown;
};

export async function load(job: LoadJob, loops: Loops, tell: Tell): Promise<Loaded> {
  const { workload, size, warmMs, measureMs } = job;
  const gauge = new Gauge();
  const loop = loops[workload]?.(size, gauge);
  if (loop === undefined) throw new Error(`${job.peer} has no ${workload}`);
  // A loop ends only if it fails, as long as it is running.
  const failure = loop.then(() => new Promise<never>(() => {}));
  using tasks = watchTasks();
  await Promise.race([after(warmMs), failure]);
  const began = performance.now();
  const before = gauge.messages;
  tell("start");
  await Promise.race([after(measureMs), failure]);
  const messages = gauge.messages - before;
  const ended = performance.now();
  tell("end");
  gauge.running = false;
  const late = after(END_MS).then(() => {
    throw new Error(`${job.peer}: ${workload} did not end`);
  });
  await Promise.race([loop, late]);
  await loops.close();
  const longestTaskMs = await tasks.longest(began, ended);
  return { messages, ms: ended - began, longestTaskMs };
}

/** Long tasks are told by the browser soon after they have ended. */
const TOLD_AFTER_MS = 100;

/** Watches the tasks of over 50 ms, where there are any: the Long Tasks API has no shorter ones. */
function watchTasks() {
  const tasks: PerformanceEntry[] = [];
  const isPage = PerformanceObserver.supportedEntryTypes.includes("longtask");
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries()));
  if (isPage) observer.observe({ entryTypes: ["longtask"] });
  return {
    /** Returns the longest of those that began between two times; 0 if none did. */
    async longest(from: number, until: number): Promise<number> {
      if (!isPage) return Number.NaN;
      await after(TOLD_AFTER_MS);
      const within = tasks.filter(({ startTime }) => startTime >= from && startTime < until);
      return Math.max(0, ...within.map(({ duration }) => duration));
    },
    [Symbol.dispose]: () => observer.disconnect(),
  };
}

export function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
