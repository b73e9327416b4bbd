import { Code, type ConnectError } from "@connectrpc/connect";
import { asFailure, failure, handled } from "../failure.ts";
import { currentContext } from "../flow/runtime.ts";
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

/** A streaming call, as its CallLifecycle sees it. */
export interface LivingCall extends WatchedCall {
  /** The call has ended: it frees what it holds. `undefined`: it ended well. */
  onClosed(error: ConnectError | undefined): void;
  /** The loop that reads the responses was left before their end: the call ends with this. */
  onLeft(error: ConnectError): void;
}

/**
 * What all streaming calls have in common: a state and its listeners, one loop at a time that reads the responses, and
 * one end. Functions of the application run in the context (AsyncLocalStorage) in which the call was made.
 */
export class CallLifecycle {
  readonly #call: LivingCall;
  readonly #warnings: StallWarnings | undefined;
  readonly #options: Pick<CallOptions, "onTrailer">;
  readonly #context = currentContext();
  readonly #ended = Promise.withResolvers<Headers>();
  #state: CallState = "connecting";
  #listeners: readonly ((state: CallState) => void)[] = [];
  /** Made when the application first does what may stall: most calls never need one. */
  #watch: StallWatch | undefined;
  /** The next() of the loop that reads the responses, and whether that loop was told the end or has left. */
  #loop: unknown;
  #isRead = false;

  /** @param warnings the warnings of the transport, where it is one of Hawser's */
  constructor(
    call: LivingCall,
    options: Pick<CallOptions, "onTrailer">,
    warnings: StallWarnings | undefined,
  ) {
    this.#call = call;
    this.#warnings = warnings;
    this.#options = options;
    handled(this.#ended.promise);
  }

  get state(): CallState {
    return this.#state;
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** Calls `listener` at each change of the state, until disposed. Throws INVALID_ARGUMENT where it is not a function. */
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
    return this.#ended.promise;
  }

  /** The application sends a message, and may wait for what a response to it needs. */
  onSend(): void {
    if (!this.#call.isSink && !this.#call.isOver) this.#watchStalls()?.onSend();
  }

  /** The application asks for a response. */
  onRead(): void {
    this.#watch?.onRead();
  }

  /** The application was told that there are no more responses. */
  onReadToEnd(): void {
    this.#isRead = true;
  }

  /**
   * An iterator of the responses. Another loop may follow one that neither waits nor has ended.
   *
   * @param read gives the next response
   */
  iterator<T>(
    read: () => Promise<IteratorResult<T, undefined>>,
  ): AsyncIterator<T, undefined, undefined> {
    const next = () =>
      this.#loop === next || this.#claim(next)
        ? read()
        : Promise.reject(iteratedBefore(`the responses of ${this.#call.name}`));
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

  /** The server ended the call with OK, and all responses have been read. Throws what onTrailer throws. */
  end(trailers: Headers): void {
    if (this.isClosed) return;
    this.#close(undefined);
    try {
      this.run(() => this.#options.onTrailer?.(trailers));
    } catch (error) {
      const failed = asFailure(error);
      this.#ended.reject(failed);
      throw failed;
    }
    this.#ended.resolve(trailers);
  }

  fail(error: ConnectError): void {
    if (this.isClosed) return;
    this.#close(error);
    this.#ended.reject(error);
  }

  #watchStalls(): StallWatch | undefined {
    if (this.#warnings !== undefined) this.#watch ??= new StallWatch(this.#call, this.#warnings);
    return this.#watch;
  }

  /** Makes a loop, known by its next(), the reader of the responses; `false` where another loop waits or has ended. */
  #claim(next: unknown): boolean {
    if (this.#loop !== undefined && (this.#isRead || this.#call.isAwaited)) return false;
    this.#loop = next;
    return true;
  }

  #close(error: ConnectError | undefined): void {
    this.#change("closed");
    this.#watch?.onEnd();
    this.#call.onClosed(error);
  }

  #change(state: CallState): void {
    if (this.#state === state) return;
    this.#state = state;
    for (const listener of this.#listeners) {
      try {
        this.run(() => listener(state));
      } catch (error) {
        const what = `an onState listener of a call of ${this.#call.name} threw; the call continues:`;
        log(this.#warnings?.logger ?? console, "warn", what, error);
      }
    }
  }
}
