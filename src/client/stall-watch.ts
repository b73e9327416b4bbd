import type { Stall, Stalling, StallWarnings } from "../observe/stalls.ts";

/** The part of a streaming call that its StallWatch reads. */
export interface WatchedCall {
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
  isWatched = false;
  readonly #call: WatchedCall;
  readonly #warnings: StallWarnings;
  #sends = 0;
  #takenAtSend = 0;
  #reads = 0;
  #readsAtTrailers = -1;

  constructor(call: WatchedCall, warnings: StallWarnings) {
    this.#call = call;
    this.#warnings = warnings;
  }

  onSend(): void {
    this.#sends++;
    this.#takenAtSend = this.#call.taken;
    if (!this.isWatched) this.#warnings.watch(this, "closeSend");
  }

  onRead(): void {
    this.#reads++;
  }

  onTrailersAsked(): void {
    if (this.#call.isOver || this.#readsAtTrailers >= 0) return;
    this.#readsAtTrailers = this.#reads;
    this.#warnings.watch(this, "trailers");
  }

  onEnd(): void {
    this.#warnings.forget(this);
  }

  get activity(): number {
    return this.#sends + this.#reads;
  }

  get stall(): Stall | undefined {
    const { isAwaited, canSend, taken } = this.#call;
    if (!isAwaited) return this.#isUnread ? "trailers" : undefined;
    const isUnanswered = this.#sends > 0 && taken === this.#takenAtSend;
    return canSend && isUnanswered ? "closeSend" : undefined;
  }

  get mayStall(): boolean {
    const { isOver, canSend, taken } = this.#call;
    if (isOver) return false;
    return this.#isUnread || (canSend && taken === this.#takenAtSend);
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
    return this.#readsAtTrailers === this.#reads;
  }
}
