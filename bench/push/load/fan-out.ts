/** Loads a room with watchers: posts as fast as all watchers receive the messages. */

import { sleep } from "../../../src/flow/wait.ts";
import { emit } from "../../commands.ts";
import type { FanOutJob, WatchersJob } from "../job.ts";
import { type Crowd, gather } from "./crowd.ts";

/** The time limit of a step. */
const STEP_TIMEOUT_MS = 20_000;

/** Counts messages, for each watcher and for all. */
class Tally {
  readonly #each: Uint32Array;
  total = 0;
  posted = 0;
  answered = 0;

  constructor(watchers: number) {
    this.#each = new Uint32Array(watchers);
  }

  add(watcher: number, count: number): void {
    this.#each[watcher]! += count;
    this.total += count;
  }

  /** The number of posts that the average watcher has received; without watchers, the number of answered posts. */
  get arrived(): number {
    return this.#each.length === 0 ? this.answered : Math.floor(this.total / this.#each.length);
  }

  get isComplete(): boolean {
    return this.answered === this.posted && this.#each.every((count) => count === this.posted);
  }

  get missing(): string {
    const short = this.#each.filter((count) => count !== this.posted).length;
    return `of ${this.posted} posts ${this.answered} were answered, and ${short} watchers have not each once`;
  }
}

export async function fanOut(job: FanOutJob): Promise<void> {
  const tally = new Tally(job.watchers);
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  let running = false;
  let pumping = false;
  /** Fills the window. */
  const pump = () => {
    pumping = false;
    const free = job.window - (tally.posted - tally.arrived);
    if (!running || free <= 0) return;
    tally.posted += free;
    crowd.post(free);
  };
  const pumpSoon = () => {
    if (pumping || !running) return;
    pumping = true;
    setImmediate(pump);
  };
  const gathering = gather(job.peer, job, {
    onMessages(watcher, count) {
      tally.add(watcher, count);
      pumpSoon();
    },
    onPosted(count) {
      tally.answered += count;
      pumpSoon();
    },
    onLost: lost.reject,
  });
  const crowd = await inTime(gathering, lost.promise);
  const wait = (ms: number) => Promise.race([sleep(ms, undefined), lost.promise]);
  running = true;
  pump();
  await wait(job.warmMs);
  emit({ event: "start" });
  const before = { messages: tally.total, posts: tally.arrived, at: performance.now() };
  await wait(job.measureMs);
  const messages = tally.total - before.messages;
  const posts = tally.arrived - before.posts;
  const ms = performance.now() - before.at;
  emit({ event: "end" });
  running = false;
  for (const from = performance.now(); !tally.isComplete; ) {
    if (performance.now() - from > STEP_TIMEOUT_MS) throw new Error(tally.missing);
    await wait(10);
  }
  await crowd.close();
  emit({ event: "done", messages, posts, ms });
}

/** Waits for a crowd. Rejects if the server loses a watcher, or does not connect all of them in time. */
function inTime(gathering: Promise<Crowd>, lost: Promise<never>): Promise<Crowd> {
  const late = sleep(STEP_TIMEOUT_MS, undefined).then(() => {
    throw new Error("some of the watchers were not let in");
  });
  late.catch(() => {});
  return Promise.race([gathering, lost, late]);
}

/** Keeps watchers connected that get no messages, until `released`. */
export async function waitIdle(job: WatchersJob, released: Promise<void>): Promise<void> {
  const lost = Promise.withResolvers<never>();
  const owner = { onMessages() {}, onPosted() {}, onLost: lost.reject };
  const crowd = await inTime(gather(job.peer, job, owner), lost.promise);
  emit({ event: "idle" });
  await Promise.race([released, lost.promise]);
  await crowd.close();
  emit({ event: "done" });
}
