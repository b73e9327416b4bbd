import type {
  DescMessage,
  DescMethodStreaming,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, type ConnectError, type StreamResponse, type Transport } from "@connectrpc/connect";
import { asFailure, failure, fromAbort, handled } from "../failure.ts";
import { type Inbound, type InboundListener, isInbound } from "../flow/inbox.ts";
import { LazyAbortController } from "../flow/lazy-abort.ts";
import { Queue } from "../flow/queue.ts";
import { onAbort } from "../flow/wait.ts";
import { exactlyOne } from "../grpc/exactly-one.ts";
import { warningsOf } from "../observe/stalls.ts";
import { CallLifecycle, type CallState, type LivingCall } from "./call-lifecycle.ts";
import { type CallOptions, refusalOf } from "./call-options.ts";
import { type CallWatcher, openCall, type StreamingCallInit } from "./open-call.ts";
import type { CallUse } from "./stall-watch.ts";

/** send() waits while this many messages are queued for the transport. */
const QUEUE_MESSAGES = 16;

/** The reason with which the signal of a call aborts when the call has ended with OK. */
const ENDED = failure(Code.Canceled, "the call is over");

/** The members of every streaming call. */
interface Ongoing extends AsyncDisposable {
  /** The response headers, when they arrive. Rejects if the call ends without them. */
  readonly headers: Promise<Headers>;
  /**
   * The trailers, when the call has ended with OK and all responses were read. Otherwise rejects with the call's error.
   */
  readonly trailers: Promise<Headers>;
  /** The state of the call. */
  readonly state: CallState;
  /**
   * Whether the call outlives its connections: it has a session, or its method declares a cursor
   * (hawser/v1/resume.proto). Known when it is no longer "connecting"; if the server takes no more sessions it becomes
   * false before the response headers.
   */
  readonly resumable: boolean;
  /**
   * Calls `listener` at each change of the state, until disposed, in the context (AsyncLocalStorage) in which the call
   * was made. An error that it throws is logged by the transport's logger; the call continues. Throws INVALID_ARGUMENT
   * if it is not a function.
   */
  onState(listener: (state: CallState) => void): Disposable;
  /** Ends the call now: both sides see CANCELED. Does nothing if the call has ended. */
  cancel(reason?: unknown): void;
}

/**
 * A server-streaming call: an iterable of responses. Leaving the loop cancels the call. A call that continues by a
 * cursor has the headers of its first attempt, and the trailers of its final one.
 */
export interface ServerStream<Res> extends Ongoing, AsyncIterable<Res> {}

/** The client's side of a client-streaming call. */
export interface Sink<Req, Res> extends Ongoing {
  /** Sends a message, as Duplex.send() does. */
  send(message: Req): Promise<void>;
  /** Half-closes, and waits for the one response. */
  finish(): Promise<Res>;
}

/**
 * The client's side of a bidirectional call: send in one place, iterate in
 * another; neither waits for the other. Leaving the loop cancels the call.
 */
export interface Duplex<Req, Res> extends Ongoing, AsyncIterable<Res> {
  /**
   * Sends a message. Resolves when there is capacity for the next one: awaiting it is the backpressure. May be called
   * from several places at the same time; messages leave whole, in the order of the calls of send(). After the call has
   * ended it rejects, and never hangs: with the call's error, or with FAILED_PRECONDITION if the call ended with OK or
   * was half-closed. A value that is not a message of the type ends the call with INVALID_ARGUMENT.
   */
  send(message: Req): Promise<void>;
  /** Half-closes: this side sends no more messages; responses still arrive. */
  closeSend(): void;
}

const NO_OPTIONS: CallOptions = {};

/** The arguments of a streaming call. */
interface StreamingCallSetup<I extends DescMessage>
  extends Partial<Pick<StreamingCallInit<I>, "requests" | "fastReconnect" | "observation">> {
  readonly options?: CallOptions | undefined;
}

/** Every streaming call is a StreamingCall; the method kinds differ in the interface that they show. */
export class StreamingCall<I extends DescMessage, O extends DescMessage>
  implements
    Duplex<MessageInitShape<I>, MessageShape<O>>,
    Sink<MessageInitShape<I>, MessageShape<O>>,
    CallWatcher,
    InboundListener,
    LivingCall
{
  readonly isSink: boolean;
  readonly use: CallUse = { sends: 0, takenAtSend: 0, reads: 0, isWatched: false };
  loop: unknown;
  readonly #method: DescMethodStreaming<I, O>;
  readonly #controller = new LazyAbortController();
  readonly #queue: Queue<MessageInitShape<I>> | undefined;
  readonly #response: Promise<StreamResponse<I, O>>;
  /** Rejects `#response`; `undefined` when that has settled. */
  #rejectResponse: ((error: unknown) => void) | undefined;
  readonly #callerAbort: Disposable | undefined;
  readonly #lifecycle: CallLifecycle;
  #answer: StreamResponse<I, O> | undefined;
  #messages: AsyncIterator<MessageShape<O>> | undefined;
  #inbox: Inbound<MessageShape<O>> | undefined;
  #resumable = false;
  #halfClosed = false;
  #finished: Promise<MessageShape<O>> | undefined;
  /** How many calls of next() by the application wait outside of an inbox. */
  #awaited = 0;
  #taken = 0;

  constructor(
    transport: Transport,
    method: DescMethodStreaming<I, O>,
    { requests, options = NO_OPTIONS, fastReconnect, observation }: StreamingCallSetup<I>,
  ) {
    this.#method = method;
    this.isSink = method.methodKind === "client_streaming";
    this.#lifecycle = new CallLifecycle(this, options, warningsOf(transport));
    if (requests === undefined) this.#queue = new Queue(QUEUE_MESSAGES, () => this.#opened());
    const { promise, resolve, reject } = Promise.withResolvers<StreamResponse<I, O>>();
    this.#response = handled(promise);
    this.#rejectResponse = reject;
    const refusal = refusalOf(options, method);
    if (refusal !== undefined) {
      this.#abort(refusal);
      return;
    }
    this.#callerAbort = onAbort(options.signal, (reason) => this.#abort(fromAbort(reason)));
    const answer = openCall(transport, method, {
      ...options,
      signal: this.#controller,
      timeoutMs: options.timeoutMs,
      requests: requests ?? (this.#queue as Queue<MessageInitShape<I>>),
      watcher: this,
      fastReconnect,
      observation,
    });
    answer
      .then((response) => {
        this.#opened();
        // A listener of the state may have ended the call there.
        if (!this.#lifecycle.isClosed) options.onHeader?.(response.header);
        resolve(response);
        this.#rejectResponse = undefined;
      })
      // Reached also if onHeader threw: without this the call would continue.
      .catch((error) => this.#abort(asFailure(error)));
  }

  /** "example.Greeter.Chat" */
  get name(): string {
    return `${this.#method.parent.typeName}.${this.#method.name}`;
  }

  get state(): CallState {
    return this.#queue?.isFailed === true ? "closed" : this.#lifecycle.state;
  }

  get resumable(): boolean {
    return this.#resumable;
  }

  onState(listener: (state: CallState) => void): Disposable {
    return this.#lifecycle.onState(listener);
  }

  get headers(): Promise<Headers> {
    return handled(this.#response.then((response) => response.header));
  }

  get trailers(): Promise<Headers> {
    return this.#lifecycle.trailers;
  }

  send(message: MessageInitShape<I>): Promise<void> {
    if (!this.#halfClosed && this.#queue !== undefined) {
      if (!this.isSink) this.#countSend();
      return this.#queue.push(message);
    }
    return handled(
      Promise.reject(
        failure(Code.FailedPrecondition, `${this.name}: nothing can be sent after half-close`),
      ),
    );
  }

  #countSend(): void {
    const { use } = this;
    use.sends++;
    use.takenAtSend = this.taken;
    if (!use.isWatched) this.#lifecycle.warnOfMissingHalfClose();
  }

  closeSend(): void {
    this.#halfClosed = true;
    this.#queue?.end();
  }

  cancel(reason?: unknown): void {
    if (!this.#lifecycle.isClosed) this.#abort(fromAbort(reason));
  }

  finish(): Promise<MessageShape<O>> {
    this.#finished ??= this.#finish();
    return this.#finished;
  }

  async #finish(): Promise<MessageShape<O>> {
    this.closeSend();
    try {
      return await exactlyOne(() => this.#next(), this.name);
    } finally {
      // Ends the call if the server sent more than one response.
      this.cancel();
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<MessageShape<O>, undefined> {
    const next = (): Promise<IteratorResult<MessageShape<O>, undefined>> =>
      this.loop === next ? this.#next() : this.#lifecycle.beginLoop(next);
    return this.#lifecycle.iterator(next);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
  }

  #opened(): void {
    if (this.#lifecycle.state === "connecting") this.#lifecycle.change("open");
  }

  // LivingCall: called by the lifecycle.

  onLeft(error: ConnectError): void {
    this.#abort(error);
  }

  onClosed(error: ConnectError | undefined): void {
    this.#callerAbort?.[Symbol.dispose]();
    const ended = `${this.name}: the server has ended the call`;
    this.#queue?.fail(error ?? failure(Code.FailedPrecondition, ended));
  }

  get isOver(): boolean {
    return this.state === "closed";
  }

  get canSend(): boolean {
    return !this.#halfClosed && this.#queue?.isEmpty === true;
  }

  get isAwaited(): boolean {
    return this.#awaited > 0 || this.#inbox?.isAwaited === true;
  }

  get taken(): number {
    return this.#inbox?.taken ?? this.#taken;
  }

  // CallWatcher: called by the transport.

  onSession(): void {
    this.#resumable = true;
  }

  onSessionRefused(): void {
    this.#resumable = false;
  }

  onSessionState(state: "open" | "resuming"): void {
    this.#lifecycle.change(state);
  }

  onSendEnded(error: unknown): void {
    this.#queue?.fail(error);
  }

  /** Ends the call when reading has failed, even if an interceptor keeps the responses that it was given open. */
  #onError(error: unknown): never {
    this.#awaited--;
    this.#lifecycle.onReadToEnd();
    const failed = asFailure(error);
    this.#lifecycle.fail(failed);
    this.#controller.abort(failed);
    throw failed;
  }

  #next(): Promise<IteratorResult<MessageShape<O>, undefined>> {
    this.use.reads++;
    if (this.#inbox !== undefined) return this.#inbox.next();
    this.#awaited++;
    if (this.#messages !== undefined) return this.#read(this.#messages);
    return this.#response.then((response) => {
      this.#answer = response;
      if (isInbound(response.message)) {
        // An Inbound reports its end itself; each message then costs one promise less.
        this.#inbox = response.message;
        this.#inbox.listener = this;
        this.#awaited--;
        return this.#inbox.next();
      }
      try {
        this.#messages ??= response.message[Symbol.asyncIterator]();
      } catch (error) {
        return this.#onError(error);
      }
      return this.#read(this.#messages);
    });
  }

  // InboundListener: called by the inbox.

  onReadToEnd(error?: unknown): void {
    this.#lifecycle.onReadToEnd();
    if (error === undefined) this.#end();
    else this.#lifecycle.fail(asFailure(error));
  }

  /** Reads from an iterable that is not an Inbound: its next() may throw instead of rejecting. */
  async #read(
    messages: AsyncIterator<MessageShape<O>>,
  ): Promise<IteratorResult<MessageShape<O>, undefined>> {
    let result: IteratorResult<MessageShape<O>, unknown>;
    try {
      result = await messages.next();
    } catch (error) {
      return this.#onError(error);
    }
    this.#awaited--;
    if (result.done !== true) {
      this.#taken++;
      return result;
    }
    this.#lifecycle.onReadToEnd();
    try {
      this.#end();
    } finally {
      // An interceptor may end its responses before the server's responses end.
      this.#controller.abort(ENDED);
    }
    return { done: true, value: undefined };
  }

  /** Ends the call when the server has sent OK and all responses were read. */
  #end(): void {
    this.#lifecycle.end(this.#answer as StreamResponse<I, O>);
  }

  #abort(error: ConnectError): void {
    this.#rejectResponse?.(error);
    this.#rejectResponse = undefined;
    this.#controller.abort(error);
    this.#lifecycle.fail(error);
  }
}
