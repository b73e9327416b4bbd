import type {
  DescMessage,
  DescMethodServerStreaming,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, type Transport } from "@connectrpc/connect";
import { type CallOptions, comesBack, refusalOf } from "../call-options.ts";
import { asFailure, deadlineExceeded, failure, fromAbort, handled } from "../failure.ts";
import { after, iteratedBefore, onAbort, one, pause } from "../flow.ts";
import { type StallWarnings, warningsOf } from "../stalls.ts";
import { gotOn, waitBeforeNext } from "./again.ts";
import { over } from "./context-values.ts";
import { Progress, type ProgressingCall } from "./progress.ts";
import type { Resumption } from "./resume.ts";
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
  #begunAt = 0;
  /** The last one that the caller was handed, if there was one. */
  #cursor: string | undefined;
  #state: CallState = "connecting";
  #listeners: ((state: CallState) => void)[] = [];

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
    const heard = (state: CallState) => listener(state);
    this.#listeners = [...this.#listeners, heard];
    return {
      [Symbol.dispose]: () => {
        this.#listeners = this.#listeners.filter((one) => one !== heard);
      },
    };
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
    /** How many attempts in a row did not get on. */
    let idle = 0;
    for (;;) {
      const from = this.#cursor;
      let answered = false;
      try {
        for await (const response of this.#attempt) {
          worked = true;
          answered = true;
          this.#note(response);
          yield response;
        }
        const trailers = await this.#attempt.trailers;
        this.#close();
        this.#ended.resolve(trailers);
        return undefined;
      } catch (thrown) {
        const error = this.#meaningOf(thrown);
        const lastedMs = performance.now() - this.#begunAt;
        if (gotOn({ moved: this.#cursor !== from, answered, lastedMs })) idle = 0;
        const waitMs =
          worked && !signal.aborted ? waitBeforeNext(asFailure(error), idle, lastedMs) : undefined;
        if (waitMs === undefined) {
          this.#fail(error);
          throw error;
        }
        this.#change("resuming");
        await pause(waitMs, signal);
      }
      if (signal.aborted) throw signal.reason;
      idle++;
      this.#attempt = this.#begin({ ...this.#options, onHeader: undefined });
    }
  }

  #begin(options: CallOptions): StreamingCall<I, O> {
    this.#begunAt = performance.now();
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
          : Math.ceil(Math.max(this.#endsAt - this.#begunAt, 1)),
      contextValues: over(options.contextValues, comesBack, true),
      // The cursor does it, on any server.
      session: false,
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
  #meaningOf(thrown: unknown): unknown {
    if (this.#controller.signal.aborted) return this.#controller.signal.reason;
    if (this.#timeoutMs === undefined || this.#endsAt === undefined) return thrown;
    // The server keeps it too, and its timer may be faster.
    const late = performance.now() >= this.#endsAt - 50;
    const expired = asFailure(thrown).code === Code.DeadlineExceeded;
    return late && expired ? deadlineExceeded(this.#timeoutMs) : thrown;
  }

  #abort(error: unknown): void {
    if (this.#state === "closed") return;
    this.#fail(error);
    this.#controller.abort(error);
  }

  #fail(error: unknown): void {
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
    for (const listener of this.#listeners) {
      try {
        listener(state);
      } catch (error) {
        // A listener's bug is none of the call.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
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
