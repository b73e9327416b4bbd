import { runtime } from "./runtime.ts";

/**
 * How long all pumps of a process together may run in one turn of the event loop, in milliseconds. A pump whose iterable always has
 * another message runs in microtasks, and Node handles no timer, no socket and no signal until no microtask is left.
 */
const SLICE_MS = 1;

/**
 * At most this many messages of all pumps are counted between two checks of the clock, each of which costs tens of ns.
 */
const STRIDE = 16;

/**
 * How many messages a pump writes per turn even after the slice has ended, so that a pump that rarely writes does not
 * wait for those that never pause.
 */
const FREE_MESSAGES = 4;

/** How many messages a pump writes per turn while others wait. Fewer would make the writes too small. */
export const QUANTUM_MESSAGES = 256;

/**
 * The slices of a process. A slice begins with the first check of the clock in a turn of the event loop. A pump that
 * must wait continues in a later slice, in the order of the calls of next(), and one pump at a time: the next one
 * continues when all microtasks and ticks that the one before it has queued are done.
 */
class Slices {
  /** A number that changes with each turn of the event loop that had a slice. */
  turn = 0;
  /** When the slice of this turn began, by performance.now(); `undefined` if this turn has none yet. */
  #startedAtMs: number | undefined;
  #checkedAtMs = 0;
  /** How long the slice of this turn had lasted at the last check of the clock. */
  #elapsedMs = 0;
  /** How many messages are counted until the next check of the clock, and between two checks. */
  #left = STRIDE;
  #stride = STRIDE;
  #waiting: (() => void)[] = [];
  #first = 0;
  readonly #wait = (resume: () => void): void => {
    this.#waiting.push(resume);
  };

  /** Whether a pump waits for a later slice. */
  get isAwaited(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * Counts a message, or work that costs about as much. Returns whether the slice of this turn has lasted `sliceMs`.
   */
  countMessage(sliceMs = SLICE_MS): boolean {
    if (--this.#left <= 0) this.#look();
    return this.#elapsedMs >= sliceMs;
  }

  /** Resolves in a later turn, in the order of the calls. */
  next(): Promise<void> {
    if (this.#startedAtMs === undefined) this.#begin(performance.now());
    return new Promise(this.#wait);
  }

  #begin(nowMs: number): void {
    this.#startedAtMs = this.#checkedAtMs = nowMs;
    runtime.inLaterTurn(this.#nextTurn);
  }

  #look(): void {
    const nowMs = performance.now();
    if (this.#startedAtMs === undefined) this.#begin(nowMs);
    else {
      // Slow messages are counted one by one.
      const isSlow = (nowMs - this.#checkedAtMs) * 2 > SLICE_MS;
      this.#stride = isSlow ? 1 : Math.min(this.#stride * 2, STRIDE);
      this.#checkedAtMs = nowMs;
      this.#elapsedMs = nowMs - (this.#startedAtMs as number);
    }
    this.#left = this.#stride;
  }

  readonly #nextTurn = (): void => {
    this.turn++;
    this.#startedAtMs = undefined;
    this.#elapsedMs = 0;
    this.#resume();
  };

  readonly #resume = (): void => {
    const resume = this.#waiting[this.#first];
    if (resume === undefined) return;
    this.#look();
    if (this.#elapsedMs >= SLICE_MS) return;
    if (++this.#first * 2 >= this.#waiting.length) {
      this.#waiting.splice(0, this.#first);
      this.#first = 0;
    }
    resume();
    // The microtasks of the pump that was resumed run first.
    runtime.afterMicrotasks(this.#resume);
  };
}

/** The slices of this process. */
export const slices = new Slices();

/** One pump's share of the slices. */
export class Share {
  readonly #freeMessages: number;
  readonly #sliceMs: number;
  #turn = -1;
  #messages = 0;

  /**
   * @param freeMessages how many messages the pump may write in a turn even after the slice has ended
   * @param sliceMs after how much of the slice of all pumps this one waits
   */
  constructor({ freeMessages = FREE_MESSAGES, sliceMs = SLICE_MS } = {}) {
    this.#freeMessages = freeMessages;
    this.#sliceMs = sliceMs;
  }

  /** Counts a message of the pump. Returns whether the pump must await slices.next() before its next message. */
  countMessage(): boolean {
    if (this.#turn !== slices.turn) {
      this.#turn = slices.turn;
      this.#messages = 0;
    }
    this.#messages++;
    const isOver = slices.countMessage(this.#sliceMs) && this.#messages >= this.#freeMessages;
    return isOver || (this.#messages >= QUANTUM_MESSAGES && slices.isAwaited);
  }
}
