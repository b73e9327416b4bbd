import type { AppendMessage } from "./message.ts";
import type { Append } from "./writer.ts";

/** For how long a log counts as shared after appends of several owners, in milliseconds. */
const SHARED_MS = 1000;

/** An append with the number by which the log knows it. */
export interface WaitingAppend extends Append {
  readonly number: number;
}

/**
 * The appends that wait for the writer. Their owners take turns, an append each; those of one owner, or of none, are taken in
 * the order of the calls.
 */
export class WaitingAppends {
  /** The owner whose turn is next is the first. No list is empty. */
  readonly #owners = new Map<number, WaitingAppend[]>();
  readonly #now: () => number;
  #latestOwner: number | undefined;
  #sharedAtMs = Number.NEGATIVE_INFINITY;

  /** @param now the time in milliseconds, of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
  }

  get isEmpty(): boolean {
    return this.#owners.size === 0;
  }

  /** Whether there were appends of several owners within the last second. */
  get isShared(): boolean {
    return this.#now() - this.#sharedAtMs < SHARED_MS;
  }

  /** Adds the appends of a message. Their bytes are not copied. */
  add(message: AppendMessage): void {
    const { topics, counts, sizes, producers, sequences, data, nowMs, owners, first } = message;
    let [record, at] = [0, 0];
    for (const [n, topic] of topics.entries()) {
      const records: Append["records"][number][] = [];
      for (const end = record + (counts[n] as number); record < end; record++) {
        const size = sizes[record] as number;
        records.push({
          data: data.subarray(at, at + size),
          producer: producers?.[record] ?? null,
          sequence: sequences?.[record] ?? null,
        });
        at += size;
      }
      this.#add(owners[n] as number, { number: first + n, topic, nowMs, records });
    }
  }

  /** Takes appends, of each owner in turn, for as long as the caller asks for more. */
  *take(): Generator<WaitingAppend, undefined> {
    for (const [owner, appends] of this.#owners) {
      // A Map is iterated to what is added meanwhile: an owner that has more comes again.
      this.#owners.delete(owner);
      const append = appends.shift() as WaitingAppend;
      if (appends.length > 0) this.#owners.set(owner, appends);
      yield append;
    }
    return undefined;
  }

  #add(owner: number, append: WaitingAppend): void {
    if (owner !== this.#latestOwner) {
      if (this.#latestOwner !== undefined) this.#sharedAtMs = this.#now();
      this.#latestOwner = owner;
    }
    const appends = this.#owners.get(owner);
    if (appends === undefined) this.#owners.set(owner, [append]);
    else appends.push(append);
  }
}
