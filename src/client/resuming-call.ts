import type {
  DescMessage,
  DescMethodServerStreaming,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, type ConnectError, type Transport } from "@connectrpc/connect";
import { asFailure, deadlineExceeded, fromAbort } from "../failure.ts";
import { Backoff } from "../flow/backoff.ts";
import { one } from "../flow/pump.ts";
import { onAbort, startTimer } from "../flow/wait.ts";
import type { ClientCallObservation } from "../observe/client-call.ts";
import { warningsOf } from "../observe/stalls.ts";
import { CallLifecycle, type CallState, type LivingCall } from "./call-lifecycle.ts";
import { type CallOptions, refusalOf } from "./call-options.ts";
import { observationOf, pause } from "./open-call.ts";
import type { Resumption } from "./resume.ts";
import { BACKOFF, isPauseAsked, madeProgress, waitBeforeNext } from "./resume-policy.ts";
import type { CallUse } from "./stall-watch.ts";
import { type ServerStream, StreamingCall } from "./streaming-call.ts";

/** A method that declares how its calls continue. */
interface ResumableMethod<I extends DescMessage, O extends DescMessage> {
  readonly method: DescMethodServerStreaming<I, O>;
  readonly resumption: Resumption;
}

/**
 * A server-streaming call that continues from a cursor (resume.proto). It makes one attempt after the other; each begins
 * after the newest cursor that the caller was given. Until the first response the call fails as any call does; after
 * that only the server's status, the caller or the deadline ends it.
 *
 *     connecting ── response headers ──> open ── loss ──> resuming
 *                                          ^ ── headers ────┘
 */
export class ResumingCall<I extends DescMessage, O extends DescMessage>
  implements ServerStream<MessageShape<O>>, LivingCall
{
  readonly resumable = true;
  readonly isSink = false;
  readonly canSend = false;
  readonly taken = 0;
  readonly use: CallUse = { sends: 0, takenAtSend: 0, reads: 0, isWatched: false };
  loop: unknown;
  readonly name: string;
  readonly #transport: Transport;
  readonly #method: DescMethodServerStreaming<I, O>;
  readonly #resumption: Resumption;
  readonly #request: MessageInitShape<I>;
  readonly #options: CallOptions;
  readonly #timeoutMs: number | undefined;
  readonly #endsAt: number | undefined;
  readonly #controller = new AbortController();
  readonly #responses: AsyncGenerator<MessageShape<O>, undefined>;
  readonly #deadline: Disposable | undefined;
  readonly #callerAbort: Disposable | undefined;
  readonly #lifecycle: CallLifecycle;
  /** Undefined if the transport has no observer. */
  readonly #observation: ClientCallObservation | undefined;
  /** How many calls of next() by the application wait. */
  #awaited = 0;
  readonly #first: StreamingCall<I, O>;
  #attempt: StreamingCall<I, O>;
  readonly #backoff = new Backoff(BACKOFF);
  /** The newest cursor that the caller was given. */
  #cursor: string | undefined;

  constructor(
    transport: Transport,
    { method, resumption }: ResumableMethod<I, O>,
    { request, options = {} }: { request: MessageInitShape<I>; options: CallOptions | undefined },
  ) {
    this.#transport = transport;
    this.#method = method;
    this.#resumption = resumption;
    this.#options = options;
    // The caller may use its request for other calls, and change it.
    this.#request = copyOf(request);
    this.name = `${method.parent.typeName}.${method.name}`;
    this.#lifecycle = new CallLifecycle(this, options, warningsOf(transport));
    const refusal = refusalOf(options, method);
    if (refusal !== undefined) {
      this.#attempt = new StreamingCall(transport, method, { requests: one(request), options });
      this.#first = this.#attempt;
      this.#responses = this.#run();
      this.#abort(refusal);
      return;
    }
    this.#observation = observationOf(transport, method, options.timeoutMs);
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs(transport);
    if (timeoutMs !== undefined && timeoutMs > 0 && timeoutMs < Infinity) {
      this.#timeoutMs = timeoutMs;
      this.#endsAt = performance.now() + timeoutMs;
      this.#deadline = startTimer(timeoutMs, () => this.#abort(deadlineExceeded(timeoutMs)));
    }
    this.#callerAbort = onAbort(options.signal, (reason) => this.#abort(fromAbort(reason)));
    this.#attempt = this.#begin(options);
    this.#first = this.#attempt;
    // If the first attempt ends without response headers, the call fails then, even if no loop reads it.
    this.#first.headers.catch((error) => this.#lifecycle.fail(this.#toCallError(error)));
    this.#responses = this.#run();
  }

  get state(): CallState {
    return this.#lifecycle.state;
  }

  get headers(): Promise<Headers> {
    return this.#first.headers;
  }

  get trailers(): Promise<Headers> {
    return this.#lifecycle.trailers;
  }

  onState(listener: (state: CallState) => void): Disposable {
    return this.#lifecycle.onState(listener);
  }

  cancel(reason?: unknown): void {
    this.#abort(fromAbort(reason));
  }

  // As LivingCall.

  get isOver(): boolean {
    return this.#lifecycle.isClosed;
  }

  onLeft(error: ConnectError): void {
    this.#abort(error);
  }

  onClosed(error: ConnectError | undefined): void {
    this.#callerAbort?.[Symbol.dispose]();
    this.#deadline?.[Symbol.dispose]();
    this.#observation?.end(error);
  }

  get isAwaited(): boolean {
    return this.#awaited > 0;
  }

  [Symbol.asyncIterator](): AsyncIterator<MessageShape<O>, undefined> {
    const next = (): Promise<IteratorResult<MessageShape<O>, undefined>> =>
      this.loop === next ? this.#next() : this.#lifecycle.beginLoop(next);
    return this.#lifecycle.iterator(next);
  }

  async #next(): Promise<IteratorResult<MessageShape<O>, undefined>> {
    this.use.reads++;
    this.#awaited++;
    try {
      const result = await this.#responses.next();
      if (result.done === true) this.#lifecycle.onReadToEnd();
      return result;
    } catch (error) {
      this.#lifecycle.onReadToEnd();
      throw error;
    } finally {
      this.#awaited--;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
  }

  async *#run(): AsyncGenerator<MessageShape<O>, undefined> {
    const { signal } = this.#controller;
    let everAnswered = false;
    for (;;) {
      const cursorBefore = this.#cursor;
      let answered = false;
      let ended: Headers | undefined;
      try {
        for await (const response of this.#attempt) {
          everAnswered = true;
          answered = true;
          this.#rememberCursor(response);
          yield response;
        }
        ended = await this.#attempt.trailers;
      } catch (thrown) {
        const error = this.#toCallError(thrown);
        const { elapsedMs } = this.#backoff;
        const moved = this.#cursor !== cursorBefore;
        const progressed = madeProgress({ moved, answered, elapsedMs });
        if (progressed) this.#backoff.succeeded();
        const isWanted = everAnswered && !signal.aborted;
        const waitMs = isWanted ? waitBeforeNext(error, this.#backoff, progressed) : undefined;
        if (waitMs === undefined) {
          this.#lifecycle.fail(error);
          throw error;
        }
        this.#observation?.onRetry(error, waitMs);
        this.#lifecycle.change("resuming");
        // An attempt on a transport that was closed fails immediately, with the reason.
        await pause(this.#transport, { ms: waitMs, isAsked: isPauseAsked(error), signal });
      }
      if (ended !== undefined) {
        this.#lifecycle.end({ trailer: ended });
        return undefined;
      }
      if (signal.aborted) throw signal.reason;
      // Interceptors of each attempt run in the context of the call, even if another context reads the responses.
      this.#attempt = this.#lifecycle.run(() =>
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
    const attempt = new StreamingCall(this.#transport, this.#method, {
      requests: one(request),
      options: {
        ...options,
        signal: this.#controller.signal,
        timeoutMs:
          this.#endsAt === undefined
            ? options.timeoutMs
            : Math.ceil(Math.max(this.#endsAt - performance.now(), 1)),
        // The call continues from its cursor, at any server.
        sessions: false,
        // The trailers are the call's only if no other attempt follows: the lifecycle passes them on.
        onTrailer: undefined,
      },
      fastReconnect: true,
      observation: this.#observation,
    });
    attempt.onState((state) => {
      if (state !== "open") return;
      if (attempt !== this.#first) this.#observation?.onContinued();
      this.#lifecycle.change("open");
    });
    return attempt;
  }

  /** Remembers the cursor of a response that the caller is given: the next attempt begins after it. */
  #rememberCursor(response: MessageShape<O>): void {
    const cursor = (response as Record<string, unknown>)[this.#resumption.cursor];
    if (typeof cursor !== "string" || cursor === "") return;
    this.#cursor = cursor;
  }

  /**
   * Turns the error of an attempt into that of the call. An attempt has only the rest of the deadline; the call's error
   * names the whole timeout.
   */
  #toCallError(thrown: unknown): ConnectError {
    if (this.#controller.signal.aborted) return asFailure(this.#controller.signal.reason);
    const error = asFailure(thrown);
    if (this.#timeoutMs === undefined || this.#endsAt === undefined) return error;
    // The server also has a timer for the deadline, which may fire earlier.
    const late = performance.now() >= this.#endsAt - 50;
    const expired = error.code === Code.DeadlineExceeded;
    return late && expired ? deadlineExceeded(this.#timeoutMs) : error;
  }

  #abort(error: ConnectError): void {
    if (this.#lifecycle.isClosed) return;
    this.#lifecycle.fail(error);
    this.#controller.abort(error);
  }
}

function copyOf<T>(message: T): T {
  if (typeof message !== "object" || message === null) return message;
  return Object.assign(Object.create(Object.getPrototypeOf(message)), message);
}

/** Returns the default deadline of a Hawser transport. Other transports do not show theirs. */
function defaultTimeoutMs(transport: Transport & { timeoutMs?: number }): number | undefined {
  return transport.timeoutMs;
}
