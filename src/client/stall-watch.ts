import type { Stall, Stalling, StallWarnings } from "../observe/stalls.ts";

/**
 * Counts what the application does with a call. The call counts, and its StallWatch reads the counts by a timer, so
 * that a message costs no function call.
 */
export interface CallUse {
  /** The number of messages that were sent; 0 for a sink. */
  sends: number;
  /** The number of responses that had been taken at the previous send. */
  takenAtSend: number;
  /** The number of responses that were asked for. */
  reads: number;
  /** Whether a further send need not ask StallWarnings to watch the call. */
  isWatched: boolean;
}

/** The part of a streaming call that its StallWatch reads. */
export interface WatchedCall {
  readonly use: CallUse;
  /** "example.Greeter.Chat" */
  readonly name: string;
  /** Whether the call has finish(), in place of a loop. */
  readonly isSink: boolean;
  /** Whether the call has ended for its application. */
  readonly isOver: boolean;
  /** Whether messages may still be sent, and all earlier ones have been sent. */
  readonly canSend: boolean;
  /** Whether the application waits for a response. */
  readonly isAwaited: boolean;
  /** How many responses the application was given. */
  readonly taken: number;
}

/** Watches what the application does with a streaming call, for StallWarnings. */
export class StallWatch implements Stalling {
  readonly #call: WatchedCall;
  readonly #warnings: StallWarnings;
  #readsAtTrailers = -1;

  constructor(call: WatchedCall, warnings: StallWarnings) {
    this.#call = call;
    this.#warnings = warnings;
  }

  get name(): string {
    return this.#call.name;
  }

  get isWatched(): boolean {
    return this.#call.use.isWatched;
  }

  set isWatched(isWatched: boolean) {
    this.#call.use.isWatched = isWatched;
  }

  onSend(): void {
    this.#warnings.watch(this, "closeSend");
  }

  onTrailersAsked(): void {
    if (this.#call.isOver || this.#readsAtTrailers >= 0) return;
    this.#readsAtTrailers = this.#call.use.reads;
    this.#warnings.watch(this, "trailers");
  }

  onEnd(): void {
    this.#warnings.forget(this);
  }

  get activity(): number {
    const { sends, reads } = this.#call.use;
    return sends + reads;
  }

  get stall(): Stall | undefined {
    const { isAwaited, canSend, taken, use } = this.#call;
    if (!isAwaited) return this.#isUnread ? "trailers" : undefined;
    const isUnanswered = use.sends > 0 && taken === use.takenAtSend;
    return canSend && isUnanswered ? "closeSend" : undefined;
  }

  get mayStall(): boolean {
    const { isOver, canSend, taken, use } = this.#call;
    if (isOver) return false;
    return this.#isUnread || (canSend && taken === use.takenAtSend);
  }

  describe(stall: Stall, seconds: number): string {
    const { name, isSink } = this.#call;
    if (stall === "closeSend") {
      return `${name} has waited ${seconds} s for a response; nothing was sent meanwhile, and closeSend() was not called: a handler that answers when the requests end waits for that`;
    }
    const remedy = isSink ? "call finish() first" : "read the responses first, with for await";
    return `${name} has not been read for ${seconds} s since its trailers were asked for: they come when all responses have been read; ${remedy}`;
  }

  /** Whether nothing was read since the application asked for the trailers. */
  get #isUnread(): boolean {
    return this.#readsAtTrailers === this.#call.use.reads;
  }
}
