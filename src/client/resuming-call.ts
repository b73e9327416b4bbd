import type {
  DescMessage,
  DescMethodServerStreaming,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, type ConnectError, type Transport } from "@connectrpc/connect";
import { asFailure, deadlineExceeded, failure, fromAbort, handled } from "../failure.ts";
import { Backoff } from "../flow/backoff.ts";
import { iteratedBefore } from "../flow/iterated.ts";
import { one } from "../flow/pump.ts";
import { after, onAbort, pause } from "../flow/wait.ts";
import { type StallWarnings, warningsOf } from "../observe/stalls.ts";
import { BACKOFF, gotOn, waitBeforeNext } from "./again.ts";
import { type CallOptions, comesBack, refusalOf } from "./call-options.ts";
import { over } from "./context-values.ts";
import { Progress, type ProgressingCall } from "./progress.ts";
import type { Resumption } from "./resume.ts";
import { StateListeners } from "./state-listeners.ts";
import { type CallState, type ServerStream, StreamingCall } from "./streaming-call.ts";

/**
 * A server-streaming call that continues by a cursor (resume.proto): one
 * attempt after the other, each behind the last cursor that the caller was
 * handed. Until the first response it fails as any call does; from then on it
 * ends by the server's status, the caller or the deadline alone.
 *
 *     connecting ── response headers ──> open ── loss ──> resuming
 *                                          ^ ── headers ────┘
 */
export class ResumingCall<I extends DescMessage, O extends DescMessage>
  implements ServerStream<MessageShape<O>>, ProgressingCall
{
  readonly resumable = true;
  readonly isSink = false;
  readonly canSend = false;
  readonly taken = 0;
  readonly name: string;
  readonly #transport: Transport;
  readonly #method: DescMethodServerStreaming<I, O>;
  readonly #resumption: Resumption;
  readonly #request: MessageInitShape<I>;
  readonly #options: CallOptions;
  readonly #timeoutMs: number | undefined;
  readonly #endsAt: number | undefined;
  readonly #controller = new AbortController();
  readonly #ended = Promise.withResolvers<Headers>();
  readonly #responses: AsyncGenerator<MessageShape<O>, undefined>;
  readonly #deadline: Disposable | undefined;
  readonly #callerAbort: Disposable | undefined;
  readonly #warnings: StallWarnings | undefined;
  #progress: Progress | undefined;
  /** The next() of the loop that reads the responses, and whether it was told the end or has left. */
  #loop: unknown;
  #isRead = false;
  /** How many next() of the application wait. */
  #awaited = 0;
  readonly #first: StreamingCall<I, O>;
  #attempt: StreamingCall<I, O>;
  readonly #backoff = new Backoff(BACKOFF);
  /** The last one that the caller was handed, if there was one. */
  #cursor: string | undefined;
  #state: CallState = "connecting";
  readonly #listeners: StateListeners<CallState>;

  constructor(
    transport: Transport,
    method: DescMethodServerStreaming<I, O>,
    resumption: Resumption,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ) {
    this.#transport = transport;
    this.#method = method;
    this.#resumption = resumption;
    this.#options = options;
    // The caller may use its request for other calls, and change it.
    this.#request = copyOf(request);
    this.name = `${method.parent.typeName}.${method.name}`;
    this.#warnings = warningsOf(transport);
    this.#listeners = new StateListeners(this.name, this.#warnings?.logger);
    handled(this.#ended.promise);
    const refusal = refusalOf(options, method);
    if (refusal !== undefined) {
      this.#attempt = new StreamingCall(transport, method, one(request), options);
      this.#first = this.#attempt;
      this.#responses = this.#run();
      this.#abort(refusal);
      return;
    }
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs(transport);
    if (timeoutMs !== undefined && timeoutMs > 0 && timeoutMs < Infinity) {
      this.#timeoutMs = timeoutMs;
      this.#endsAt = performance.now() + timeoutMs;
      this.#deadline = after(timeoutMs, () => this.#abort(deadlineExceeded(timeoutMs)));
    }
    this.#callerAbort = onAbort(options.signal, (reason) => this.#abort(fromAbort(reason)));
    this.#attempt = this.#begin(options);
    this.#first = this.#attempt;
    // Nothing comes after it, whether or not anybody iterates.
    this.#first.headers.catch((error) => this.#fail(this.#meaningOf(error)));
    this.#responses = this.#run();
  }

  get state(): CallState {
    return this.#state;
  }

  get headers(): Promise<Headers> {
    return this.#first.headers;
  }

  get trailers(): Promise<Headers> {
    if (this.#warnings !== undefined && !this.isOver) {
      this.#progress ??= new Progress(this, this.#warnings);
      this.#progress.onTrailersAsked();
    }
    return this.#ended.promise;
  }

  onState(listener: (state: CallState) => void): Disposable {
    return this.#listeners.add(listener);
  }

  cancel(reason?: unknown): void {
    this.#abort(fromAbort(reason));
  }

  get isOver(): boolean {
    return this.#state === "closed";
  }

  get isAwaited(): boolean {
    return this.#awaited > 0;
  }

  [Symbol.asyncIterator](): AsyncIterator<MessageShape<O>, undefined> {
    const next = async () => {
      if (this.#loop !== next && this.#loop !== undefined && (this.#isRead || this.isAwaited)) {
        throw iteratedBefore(`the responses of ${this.name}`);
      }
      this.#loop = next;
      this.#progress?.onRead();
      this.#awaited++;
      try {
        const result = await this.#responses.next();
        if (result.done === true) this.#isRead = true;
        return result;
      } catch (error) {
        this.#isRead = true;
        throw error;
      } finally {
        this.#awaited--;
      }
    };
    const leave = async (): Promise<IteratorReturnResult<undefined>> => {
      this.#isRead = true;
      this.#abort(failure(Code.Canceled, "the caller left the loop"));
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
  }

  async *#run(): AsyncGenerator<MessageShape<O>, undefined> {
    const { signal } = this.#controller;
    let worked = false;
    for (;;) {
      const from = this.#cursor;
      let answered = false;
      let ended: Headers | undefined;
      try {
        for await (const response of this.#attempt) {
          worked = true;
          answered = true;
          this.#note(response);
          yield response;
        }
        ended = await this.#attempt.trailers;
      } catch (thrown) {
        const error = this.#meaningOf(thrown);
        const { lastedMs } = this.#backoff;
        if (gotOn({ moved: this.#cursor !== from, answered, lastedMs })) this.#backoff.reset();
        const waitMs = worked && !signal.aborted ? waitBeforeNext(error, this.#backoff) : undefined;
        if (waitMs === undefined) {
          this.#fail(error);
          throw error;
        }
        this.#change("resuming");
        await pause(waitMs, signal);
      }
      if (ended !== undefined) {
        this.#end(ended);
        return undefined;
      }
      if (signal.aborted) throw signal.reason;
      // Interceptors of each attempt run in the context of the call, also where another context reads.
      this.#attempt = this.#listeners.run(() =>
        this.#begin({ ...this.#options, onHeader: undefined }),
      );
    }
  }

  #begin(options: CallOptions): StreamingCall<I, O> {
    this.#backoff.begin();
    const request =
      this.#cursor === undefined
        ? this.#request
        : Object.assign(copyOf(this.#request), { [this.#resumption.after]: this.#cursor });
    const attempt = new StreamingCall(this.#transport, this.#method, one(request), {
      ...options,
      signal: this.#controller.signal,
      timeoutMs:
        this.#endsAt === undefined
          ? options.timeoutMs
          : Math.ceil(Math.max(this.#endsAt - performance.now(), 1)),
      contextValues: over(options.contextValues, comesBack, true),
      // The cursor does it, on any server.
      sessions: false,
      // The attempt's end is the call's only where no other attempt follows.
      onTrailer: undefined,
    });
    attempt.onState((state) => {
      if (state === "open" && this.#state !== "closed") this.#change("open");
    });
    return attempt;
  }

  /** The caller is handed a response: the next attempt begins behind it. */
  #note(response: MessageShape<O>): void {
    const cursor = (response as Record<string, unknown>)[this.#resumption.cursor];
    if (typeof cursor !== "string" || cursor === "") return;
    this.#cursor = cursor;
  }

  /** An attempt has what is left of the deadline; its error tells of the whole. */
  #meaningOf(thrown: unknown): ConnectError {
    if (this.#controller.signal.aborted) return asFailure(this.#controller.signal.reason);
    const error = asFailure(thrown);
    if (this.#timeoutMs === undefined || this.#endsAt === undefined) return error;
    // The server keeps it too, and its timer may be faster.
    const late = performance.now() >= this.#endsAt - 50;
    const expired = error.code === Code.DeadlineExceeded;
    return late && expired ? deadlineExceeded(this.#timeoutMs) : error;
  }

  /** The server ended the call well, and all is read. */
  #end(trailers: Headers): void {
    if (this.#state === "closed") return;
    this.#close();
    try {
      this.#listeners.run(() => this.#options.onTrailer?.(trailers));
    } catch (error) {
      const failed = asFailure(error);
      this.#ended.reject(failed);
      throw failed;
    }
    this.#ended.resolve(trailers);
  }

  #abort(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#fail(error);
    this.#controller.abort(error);
  }

  #fail(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#close();
    this.#ended.reject(error);
  }

  #close(): void {
    this.#callerAbort?.[Symbol.dispose]();
    this.#deadline?.[Symbol.dispose]();
    this.#progress?.onEnd();
    this.#change("closed");
  }

  #change(state: CallState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#listeners.tell(state);
  }
}

function copyOf<T>(message: T): T {
  if (typeof message !== "object" || message === null) return message;
  return Object.assign(Object.create(Object.getPrototypeOf(message)), message);
}

/** What a transport of Hawser's tells of itself. */
function defaultTimeoutMs(transport: Transport & { timeoutMs?: number }): number | undefined {
  return transport.timeoutMs;
}
