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
import { onAbort, sleep, startTimer } from "../flow/wait.ts";
import { warningsOf } from "../observe/stalls.ts";
import { CallLifecycle, type CallState, type LivingCall } from "./call-lifecycle.ts";
import { type CallOptions, refusalOf } from "./call-options.ts";
import type { Resumption } from "./resume.ts";
import { BACKOFF, madeProgress, waitBeforeNext } from "./resume-policy.ts";
import { type ServerStream, StreamingCall } from "./streaming-call.ts";

/** A method that declares how its calls continue. */
interface ResumableMethod<I extends DescMessage, O extends DescMessage> {
  readonly method: DescMethodServerStreaming<I, O>;
  readonly resumption: Resumption;
}

/**
 * A server-streaming call that continues by a cursor (resume.proto): one
 * attempt after the other, each after the last cursor that the caller was
 * given. Until the first response it fails as any call does; after that only
 * the server's status, the caller or the deadline ends it.
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
  /** How many next() of the application wait. */
  #awaited = 0;
  readonly #first: StreamingCall<I, O>;
  #attempt: StreamingCall<I, O>;
  readonly #backoff = new Backoff(BACKOFF);
  /** The last cursor that the caller was given, if there was one. */
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
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs(transport);
    if (timeoutMs !== undefined && timeoutMs > 0 && timeoutMs < Infinity) {
      this.#timeoutMs = timeoutMs;
      this.#endsAt = performance.now() + timeoutMs;
      this.#deadline = startTimer(timeoutMs, () => this.#abort(deadlineExceeded(timeoutMs)));
    }
    this.#callerAbort = onAbort(options.signal, (reason) => this.#abort(fromAbort(reason)));
    this.#attempt = this.#begin(options);
    this.#first = this.#attempt;
    // Where the first attempt ends without response headers the call fails at once, also where no loop reads it.
    this.#first.headers.catch((error) => this.#lifecycle.fail(this.#meaningOf(error)));
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

  onClosed(): void {
    this.#callerAbort?.[Symbol.dispose]();
    this.#deadline?.[Symbol.dispose]();
  }

  get isAwaited(): boolean {
    return this.#awaited > 0;
  }

  [Symbol.asyncIterator](): AsyncIterator<MessageShape<O>, undefined> {
    return this.#lifecycle.iterator(() => this.#next());
  }

  async #next(): Promise<IteratorResult<MessageShape<O>, undefined>> {
    this.#lifecycle.onRead();
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
    let wasAnswered = false;
    for (;;) {
      const from = this.#cursor;
      let answered = false;
      let ended: Headers | undefined;
      try {
        for await (const response of this.#attempt) {
          wasAnswered = true;
          answered = true;
          this.#note(response);
          yield response;
        }
        ended = await this.#attempt.trailers;
      } catch (thrown) {
        const error = this.#meaningOf(thrown);
        const { lastedMs } = this.#backoff;
        const moved = this.#cursor !== from;
        if (madeProgress({ moved, answered, lastedMs })) this.#backoff.reset();
        const waitMs =
          wasAnswered && !signal.aborted ? waitBeforeNext(error, this.#backoff) : undefined;
        if (waitMs === undefined) {
          this.#lifecycle.fail(error);
          throw error;
        }
        this.#lifecycle.change("resuming");
        await sleep(waitMs, signal);
      }
      if (ended !== undefined) {
        this.#lifecycle.end(ended);
        return undefined;
      }
      if (signal.aborted) throw signal.reason;
      // Interceptors of each attempt run in the context of the call, also where another context reads.
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
        // The call continues by its cursor, at any server.
        sessions: false,
        // The attempt's end is the call's only where no other attempt follows.
        onTrailer: undefined,
      },
      fastReconnect: true,
    });
    attempt.onState((state) => {
      if (state === "open") this.#lifecycle.change("open");
    });
    return attempt;
  }

  /** The caller is given a response: the next attempt begins after its cursor. */
  #note(response: MessageShape<O>): void {
    const cursor = (response as Record<string, unknown>)[this.#resumption.cursor];
    if (typeof cursor !== "string" || cursor === "") return;
    this.#cursor = cursor;
  }

  /** An attempt has what is left of the deadline; the error of the call names the whole timeout. */
  #meaningOf(thrown: unknown): ConnectError {
    if (this.#controller.signal.aborted) return asFailure(this.#controller.signal.reason);
    const error = asFailure(thrown);
    if (this.#timeoutMs === undefined || this.#endsAt === undefined) return error;
    // The server has a timer for the deadline too, which may be faster.
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

/** The default deadline of a transport of Hawser's; other transports do not tell theirs. */
function defaultTimeoutMs(transport: Transport & { timeoutMs?: number }): number | undefined {
  return transport.timeoutMs;
}
