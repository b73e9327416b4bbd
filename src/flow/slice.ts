import { runtime } from "./runtime.ts";
import type { Work } from "./semaphore.ts";

/**
 * How long all pumps of a process together may run in one turn of the event loop, in milliseconds. A pump whose iterable always has
 * another message runs in microtasks, and Node handles no timer, no socket and no signal until no microtask is left. What
 * connections receive counts too.
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

/** The input of at most this many connections waits at the same time. Each may hold two reads of a socket, of 64 KiB. */
const MAX_WAITING_INPUTS = 1000;

/** After how much of the slice the work of inSlice() waits: each pause costs. */
const WORK_SLICE_MS = 4;

/** The work of at most this many owners is done in a turn after that. */
const MAX_LATE_OWNERS = 16;

/** If more connections than this receive in a turn, they are a crowd. */
const FEW_RECEIVERS = 2;

/** How many messages a pump writes per turn while others wait. Fewer would make the writes too small. */
export const QUANTUM_MESSAGES = 256;

/** What waits for a later slice, in order. */
class WaitingQueue {
  readonly #waiting: (() => void)[] = [];
  #first = 0;

  get size(): number {
    return this.#waiting.length - this.#first;
  }

  add(resume: () => void): void {
    this.#waiting.push(resume);
  }

  takeFirst(): (() => void) | undefined {
    const first = this.#waiting[this.#first];
    if (++this.#first * 2 >= this.#waiting.length) {
      this.#waiting.splice(0, this.#first);
      this.#first = 0;
    }
    return first;
  }
}

/** The work of owners that waits for a later slice. The owners take turns, and the work of each is done in order. */
class OwnersQueue {
  /** The owner whose turn is next is the first. */
  readonly #waiting = new Map<object, WaitingQueue>();
  size = 0;

  has(owner: object): boolean {
    return this.#waiting.has(owner);
  }

  add(owner: object, resume: () => void): void {
    let queue = this.#waiting.get(owner);
    if (queue === undefined) {
      queue = new WaitingQueue();
      this.#waiting.set(owner, queue);
    }
    queue.add(resume);
    this.size++;
  }

  takeFirst(): (() => void) | undefined {
    for (const [owner, queue] of this.#waiting) {
      const resume = queue.takeFirst();
      this.#waiting.delete(owner);
      if (queue.size > 0) this.#waiting.set(owner, queue);
      this.size--;
      return resume;
    }
    return undefined;
  }
}

/**
 * The slices of a process. A slice begins with the first check of the clock in a turn of the event loop. A pump that
 * must wait continues in a later slice, in the order of the calls of next(), and one pump at a time: the next one
 * continues when all microtasks and ticks that the one before it has queued are done. Connections that have received more
 * than they could handle wait in a queue of their own, and take turns with the pumps: of these there may be thousands. So does
 * the work of owners, of which each takes turns with the others.
 */
class Slices {
  /** A number that changes with each turn of the event loop that had a slice. */
  turn = 0;
  /** When the slice of this turn began, by performance.now(); `undefined` if this turn has none yet. */
  #startedAtMs: number | undefined;
  #checkedAtMs = 0;
  /** How long the slice of this turn had lasted at the last check of the clock. */
  elapsedMs = 0;
  /** How many connections have received something in this turn, and in the latest one before it that had a slice. */
  #receivers = 0;
  #latestReceivers = 0;
  /** How many messages are counted until the next check of the clock, and between two checks. */
  #left = STRIDE;
  #stride = STRIDE;
  readonly #pumps = new WaitingQueue();
  readonly #inputs = new WaitingQueue();
  readonly #work = new OwnersQueue();
  readonly #queues = [this.#inputs, this.#pumps, this.#work];
  /** The index of the queue whose turn is next, if something waits there. */
  #nextQueue = 0;
  /** The owners whose work was done in this turn although the slice had lasted. */
  readonly #lateOwners = new Set<object>();

  /** Whether a pump, the input of a connection or work waits for a later slice. */
  get isAwaited(): boolean {
    return this.#pumps.size > 0 || this.#inputs.size > 0 || this.#work.size > 0;
  }

  /**
   * Counts a message, or work that costs about as much. Returns whether the slice of this turn has lasted `sliceMs`.
   */
  countMessage(sliceMs = SLICE_MS): boolean {
    if (--this.#left <= 0) this.#look();
    return this.elapsedMs >= sliceMs;
  }

  /** Counts a connection that has received something in this turn. It must call hasLasted() then, which begins a slice. */
  countReceiver(): void {
    this.#receivers++;
  }

  /** Whether many connections have received something, in this turn or in the latest one that had a slice. */
  get isCrowded(): boolean {
    return Math.max(this.#receivers, this.#latestReceivers) > FEW_RECEIVERS;
  }

  /** Looks at the clock. Returns whether the slice of this turn has lasted `sliceMs`. */
  hasLasted(sliceMs: number): boolean {
    const nowMs = performance.now();
    if (this.#startedAtMs === undefined) this.#begin(nowMs);
    this.elapsedMs = nowMs - (this.#startedAtMs as number);
    return this.elapsedMs >= sliceMs;
  }

  /** Resolves in a later turn, in the order of the calls. */
  next(): Promise<void> {
    return new Promise(this.#wait);
  }

  /** Whether the input of another connection may wait. */
  get admitsInput(): boolean {
    return this.#inputs.size < MAX_WAITING_INPUTS;
  }

  /** Calls `resume` in a later turn, to handle more of the input of a connection; in the order of the calls. */
  waitWithInput(resume: () => void): void {
    if (this.#startedAtMs === undefined) this.#begin(performance.now());
    this.#inputs.add(resume);
  }

  /** Does work of an owner now, or in a later turn. */
  do(work: () => void, owner: object): void {
    if (!this.countMessage(WORK_SLICE_MS) || this.#admitsLate(owner)) work();
    else void this.nextOf(owner).then(work);
  }

  /** Resolves in a later slice, when it is the owner's turn. */
  nextOf(owner: object): Promise<void> {
    return new Promise((resume) => {
      if (this.#startedAtMs === undefined) this.#begin(performance.now());
      this.#work.add(owner, resume);
    });
  }

  /** Whether work of an owner is done although the slice has lasted: one with little work does not wait. */
  #admitsLate(owner: object): boolean {
    const late = this.#lateOwners;
    if (late.size >= MAX_LATE_OWNERS || late.has(owner) || this.#work.has(owner)) return false;
    late.add(owner);
    return true;
  }

  readonly #wait = (resume: () => void): void => {
    if (this.#startedAtMs === undefined) this.#begin(performance.now());
    this.#pumps.add(resume);
  };

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
      this.elapsedMs = nowMs - (this.#startedAtMs as number);
    }
    this.#left = this.#stride;
  }

  readonly #nextTurn = (): void => {
    this.turn++;
    this.#latestReceivers = this.#receivers;
    this.#receivers = 0;
    this.#startedAtMs = undefined;
    this.elapsedMs = 0;
    this.#lateOwners.clear();
    this.#resume();
  };

  readonly #resume = (): void => {
    if (!this.isAwaited) return;
    this.#look();
    if (this.elapsedMs >= SLICE_MS) return;
    while (this.#queues[this.#nextQueue]?.size === 0) this.#passTurn();
    const resume = this.#queues[this.#nextQueue]?.takeFirst();
    this.#passTurn();
    resume?.();
    // The microtasks of what was resumed run first.
    runtime.afterMicrotasks(this.#resume);
  };

  #passTurn(): void {
    this.#nextQueue = (this.#nextQueue + 1) % this.#queues.length;
  }
}

/** The slices of this process. */
export const slices = new Slices();

/**
 * Does work now, or in a later slice if this one has lasted. The owners of work that waits take turns. An owner of which nothing
 * waits may do one piece in a turn although the slice has lasted.
 */
export function inSlice(work: () => void, owner: object): void {
  slices.do(work, owner);
}

/**
 * Calls `step` until it returns `true`: at first now, or in a later slice if this one has lasted, then in later ones. The owners
 * of what waits take turns, as those of inSlice().
 */
export function inSlices(step: () => boolean, owner: object): void {
  const next = () => {
    if (!step()) later();
  };
  const later = () => void slices.nextOf(owner).then(next);
  if (slices.hasLasted(WORK_SLICE_MS)) later();
  else next();
}

/** Does work in a later slice, in order with the pumps that wait. */
export function inLaterSlice<T>(work: () => T | Promise<T>): Work<T> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  void slices.next().then(resolve);
  return { done: promise.then(work), drop: reject };
}

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
