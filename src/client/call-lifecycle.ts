import { Code, type ConnectError } from "@connectrpc/connect";
import { asFailure, failure, handled } from "../failure.ts";
import { runtime } from "../flow/runtime.ts";
import { iteratedBefore } from "../flow/second-loop.ts";
import { log } from "../observe/logger.ts";
import type { StallWarnings } from "../observe/stalls.ts";
import { callable } from "../options.ts";
import type { CallOptions } from "./call-options.ts";
import { StallWatch, type WatchedCall } from "./stall-watch.ts";

/**
 * The state of a call: "connecting" until its stream is open, "resuming" while
 * it looks for a new connection, "closed" when it has ended.
 */
export type CallState = "connecting" | "open" | "resuming" | "closed";

const NO_LISTENERS: readonly ((state: CallState) => void)[] = [];

/** What has the trailers of a call. They are read only if something asks for them: making them takes time. */
interface WithTrailers {
  readonly trailer: Headers;
}

/** The part of a streaming call that its CallLifecycle uses. */
export interface LivingCall extends WatchedCall {
  /**
   * The loop that reads the responses, identified by its next(). The lifecycle sets it. The next() of each loop compares
   * itself with it, so that a response costs no call of the lifecycle.
   */
  loop: unknown;
  /** Called when the call has ended, so that it frees its resources. `error` is `undefined` if the status was OK. */
  onClosed(error: ConnectError | undefined): void;
  /** Called when the application leaves the loop over the responses before their end. Ends the call with `error`. */
  onLeft(error: ConnectError): void;
}

/**
 * The parts that all streaming calls share: a state and its listeners, one loop at a time that reads the responses, and
 * one end. Functions of the application run in the context (AsyncLocalStorage) in which the call was made.
 */
export class CallLifecycle {
  readonly #call: LivingCall;
  readonly #warnings: StallWarnings | undefined;
  readonly #options: Pick<CallOptions, "onTrailer">;
  readonly #context = runtime.currentContext();
  /** The promise of `trailers`; made when that is first asked for. */
  #trailers: PromiseWithResolvers<Headers> | undefined;
  /** What `trailers` settles with, once the call has ended. */
  #end: { readonly answer: WithTrailers } | { readonly error: unknown } | undefined;
  #state: CallState = "connecting";
  #listeners: readonly ((state: CallState) => void)[] = NO_LISTENERS;
  /** The changes of the state of which the listeners are being told; `undefined` if none is being told of one. */
  #changes: CallState[] | undefined;
  /** Created when the application first does something that may stall. Most calls never need one. */
  #watch: StallWatch | undefined;
  /** Whether the loop that reads the responses has reached the end, or was left. */
  #isRead = false;

  /** @param warnings the warnings of the transport; `undefined` if it is not a Hawser transport */
  constructor(
    call: LivingCall,
    options: Pick<CallOptions, "onTrailer">,
    warnings: StallWarnings | undefined,
  ) {
    this.#call = call;
    this.#warnings = warnings;
    this.#options = options;
  }

  get state(): CallState {
    return this.#state;
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** Calls `listener` at each change of the state, until disposed. Throws INVALID_ARGUMENT if it is not a function. */
  onState(listener: (state: CallState) => void): Disposable {
    callable(listener, { of: "onState", option: "listener" });
    const added = (state: CallState) => listener(state);
    this.#listeners = [...this.#listeners, added];
    return {
      [Symbol.dispose]: () => {
        this.#listeners = this.#listeners.filter((one) => one !== added);
      },
    };
  }

  /** Runs a function in the context in which the call was made. */
  run<T>(run: () => T): T {
    return this.#context.runInAsyncScope(run);
  }

  /** Sets the state; does nothing once the call is closed. */
  change(state: Exclude<CallState, "closed">): void {
    if (this.#state !== "closed") this.#change(state);
  }

  /** Resolves with the trailers when all responses have been read; rejects with the error of the call. */
  get trailers(): Promise<Headers> {
    if (!this.#call.isOver) this.#watchStalls()?.onTrailersAsked();
    if (this.#trailers === undefined) {
      this.#trailers = Promise.withResolvers();
      handled(this.#trailers.promise);
      this.#settleTrailers();
    }
    return this.#trailers.promise;
  }

  /** Asks for a warning if the application waits for a response that the server sends only after the half-close. */
  warnOfMissingHalfClose(): void {
    if (this.isClosed) return;
    const watch = this.#watchStalls();
    if (watch === undefined) this.#call.use.isWatched = true;
    else watch.onSend();
  }

  /** Called when the application was told that no more responses follow. */
  onReadToEnd(): void {
    this.#isRead = true;
  }

  /**
   * Returns an iterator over the responses.
   *
   * @param next returns the next response if its loop reads the responses, and otherwise calls beginLoop()
   */
  iterator<T>(
    next: () => Promise<IteratorResult<T, undefined>>,
  ): AsyncIterator<T, undefined, undefined> {
    const leave = async (): Promise<IteratorReturnResult<undefined>> => {
      this.#isRead = true;
      if (!this.isClosed) this.#call.onLeft(failure(Code.Canceled, "the caller left the loop"));
      return { done: true, value: undefined };
    };
    return {
      next,
      return: leave,
      throw: async (error) => {
        await leave();
        throw error;
      },
    };
  }

  /**
   * Makes a loop, identified by its next(), the one that reads the responses, and calls its next(). Rejects if another
   * loop waits or has ended.
   */
  beginLoop<T>(next: () => Promise<T>): Promise<T> {
    const { loop, isAwaited, name } = this.#call;
    if (loop !== undefined && (this.#isRead || isAwaited)) {
      return Promise.reject(iteratedBefore(`the responses of ${name}`));
    }
    this.#call.loop = next;
    return next();
  }

  /** Ends the call when the server has sent OK and all responses were read. Throws what onTrailer throws. */
  end(answer: WithTrailers): void {
    if (this.isClosed) return;
    this.#close(undefined);
    try {
      if (this.#options.onTrailer !== undefined) {
        this.run(() => this.#options.onTrailer?.(answer.trailer));
      }
    } catch (error) {
      const failed = asFailure(error);
      this.#settle({ error: failed });
      throw failed;
    }
    this.#settle({ answer });
  }

  fail(error: ConnectError): void {
    if (this.isClosed) return;
    this.#close(error);
    this.#settle({ error });
  }

  #settle(end: { readonly answer: WithTrailers } | { readonly error: unknown }): void {
    this.#end = end;
    this.#settleTrailers();
  }

  #settleTrailers(): void {
    if (this.#end === undefined) return;
    if ("error" in this.#end) this.#trailers?.reject(this.#end.error);
    else this.#trailers?.resolve(this.#end.answer.trailer);
  }

  #watchStalls(): StallWatch | undefined {
    if (this.#warnings !== undefined) this.#watch ??= new StallWatch(this.#call, this.#warnings);
    return this.#watch;
  }

  #close(error: ConnectError | undefined): void {
    this.#change("closed");
    this.#watch?.onEnd();
    this.#call.onClosed(error);
  }

  #change(state: CallState): void {
    if (this.#state === state) return;
    this.#state = state;
    if (this.#changes !== undefined) {
      // A listener has changed the state, by cancel(): the loop below tells all listeners, after the change before.
      this.#changes.push(state);
      return;
    }
    if (this.#listeners.length === 0) return;
    this.#changes = [state];
    for (const change of this.#changes) {
      for (const listener of this.#listeners) this.#tell(listener, change);
    }
    this.#changes = undefined;
  }

  #tell(listener: (state: CallState) => void, state: CallState): void {
    try {
      this.run(() => listener(state));
    } catch (error) {
      const what = `an onState listener of a call of ${this.#call.name} threw; the call continues:`;
      log(this.#warnings?.logger ?? console, "warn", what, error);
    }
  }
}
