import type {
  DescMessage,
  DescMethodStreaming,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, type ConnectError, type StreamResponse, type Transport } from "@connectrpc/connect";
import { asFailure, failure, fromAbort, handled } from "../failure.ts";
import { type Inbound, isInbound } from "../flow/inbox.ts";
import { iteratedBefore } from "../flow/iterated.ts";
import { Queue } from "../flow/queue.ts";
import { onAbort } from "../flow/wait.ts";
import { type StallWarnings, warningsOf } from "../observe/stalls.ts";
import { type CallOptions, refusalOf } from "./call-options.ts";
import { type CallWatcher, openCall, type StreamingCallInit } from "./open-call.ts";
import { Progress, type ProgressingCall } from "./progress.ts";
import { StateListeners } from "./state-listeners.ts";

/** How many messages send() takes before the transport does. */
const QUEUE_MESSAGES = 16;

/** Why the signal of a call aborts that ended well. */
const OVER = failure(Code.Canceled, "the call is over");

/**
 * Where a call stands: "connecting" until its stream is open, "resuming" while
 * it looks for a new connection, "closed" once it is over.
 */
export type CallState = "connecting" | "open" | "resuming" | "closed";

/** What every streaming call has. */
interface Ongoing extends AsyncDisposable {
  /** The response headers, when they come. Rejects where the call ends without. */
  readonly headers: Promise<Headers>;
  /** The trailers, at the end of a call that ended well and was read to its end; else rejects with the call's error. */
  readonly trailers: Promise<Headers>;
  /** Where the call stands. */
  readonly state: CallState;
  /**
   * Whether the call outlives its connections: by a session, or by the cursor that its method declares
   * (hawser/v1/resume.proto). Known when it is no longer "connecting".
   */
  readonly resumable: boolean;
  /**
   * Calls `listener` at each change of the state, until disposed, in the context (AsyncLocalStorage) in which the call
   * was made. What it throws is told to the transport's logger; the call continues.
   * Throws INVALID_ARGUMENT where it is not a function.
   */
  onState(listener: (state: CallState) => void): Disposable;
  /** Ends the call now: both sides see CANCELED. Does nothing where it is over. */
  cancel(reason?: unknown): void;
}

/**
 * A server-streaming call: an iterable of responses. Leaving the loop cancels
 * the call. One that continues by a cursor has the headers of its first
 * attempt, and the trailers of its last.
 */
export interface ServerStream<Res> extends Ongoing, AsyncIterable<Res> {}

/** The client's side of a client-streaming call. */
export interface Sink<Req, Res> extends Ongoing {
  /** As Duplex.send(). */
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
   * Sends a message. Resolves when there is room for the next: awaiting it is
   * the backpressure. May be called from several places at once; messages leave
   * whole, in the order of the calls. Rejects, and never hangs, once the call is
   * over: with the call's error, or FAILED_PRECONDITION where it ended well or
   * was half-closed. What is no message of the type ends the call with
   * INVALID_ARGUMENT.
   */
  send(message: Req): Promise<void>;
  /** Half-close: no more messages from here; responses go on. */
  closeSend(): void;
}

/** What the caller gives a streaming call. */
interface StreamingCallSetup<I extends DescMessage>
  extends Partial<Pick<StreamingCallInit<I>, "requests" | "fastReconnect">> {
  readonly options?: CallOptions | undefined;
}

/** Every streaming call is this one; the method kinds differ in the interface that they show. */
export class StreamingCall<I extends DescMessage, O extends DescMessage>
  implements
    Duplex<MessageInitShape<I>, MessageShape<O>>,
    Sink<MessageInitShape<I>, MessageShape<O>>,
    CallWatcher,
    ProgressingCall
{
  /** "example.Greeter.Chat" */
  readonly name: string;
  readonly isSink: boolean;
  readonly #controller = new AbortController();
  readonly #queue: Queue<MessageInitShape<I>> | undefined;
  readonly #response: Promise<StreamResponse<I, O>>;
  readonly #giveUp: (error: unknown) => void;
  readonly #ended = Promise.withResolvers<Headers>();
  readonly #options: CallOptions;
  readonly #callerAbort: Disposable | undefined;
  readonly #warnings: StallWarnings | undefined;
  /** Made when there is something to say. */
  #progress: Progress | undefined;
  #answer: StreamResponse<I, O> | undefined;
  #messages: AsyncIterator<MessageShape<O>> | undefined;
  #inbox: Inbound<MessageShape<O>> | undefined;
  #state: CallState = "connecting";
  #resumable = false;
  readonly #listeners: StateListeners<CallState>;
  #halfClosed = false;
  /** The next() of the loop that reads the responses, and whether it was told the end or has left. */
  #loop: unknown;
  #isRead = false;
  #finished: Promise<MessageShape<O>> | undefined;
  /** How many next() of the application wait outside of an inbox. */
  #awaited = 0;
  #taken = 0;

  constructor(
    transport: Transport,
    method: DescMethodStreaming<I, O>,
    { requests, options = {}, fastReconnect }: StreamingCallSetup<I>,
  ) {
    this.name = `${method.parent.typeName}.${method.name}`;
    this.isSink = method.methodKind === "client_streaming";
    this.#options = options;
    this.#warnings = warningsOf(transport);
    this.#listeners = new StateListeners(this.name, this.#warnings?.logger);
    if (requests === undefined) this.#queue = new Queue(QUEUE_MESSAGES, () => this.#opened());
    const { promise, resolve, reject } = Promise.withResolvers<StreamResponse<I, O>>();
    this.#response = handled(promise);
    this.#giveUp = reject;
    handled(this.#ended.promise);
    const refusal = refusalOf(options, method);
    if (refusal !== undefined) {
      this.#abort(refusal);
      return;
    }
    this.#callerAbort = onAbort(options.signal, (reason) => this.#abort(fromAbort(reason)));
    const answer = openCall(transport, method, {
      ...options,
      signal: this.#controller.signal,
      timeoutMs: options.timeoutMs,
      requests: requests ?? (this.#queue as Queue<MessageInitShape<I>>),
      watcher: this,
      fastReconnect,
    });
    answer
      .then((response) => {
        this.#opened();
        options.onHeader?.(response.header);
        resolve(response);
      })
      // Also where onHeader threw, and the call itself goes on.
      .catch((error) => this.#abort(asFailure(error)));
  }

  get state(): CallState {
    return this.#queue?.failed === true ? "closed" : this.#state;
  }

  get resumable(): boolean {
    return this.#resumable;
  }

  onState(listener: (state: CallState) => void): Disposable {
    return this.#listeners.add(listener);
  }

  get headers(): Promise<Headers> {
    return handled(this.#response.then((response) => response.header));
  }

  get trailers(): Promise<Headers> {
    if (this.#warnings !== undefined && !this.isOver) {
      this.#progress ??= new Progress(this, this.#warnings);
      this.#progress.onTrailersAsked();
    }
    return this.#ended.promise;
  }

  send(message: MessageInitShape<I>): Promise<void> {
    if (!this.#halfClosed && this.#queue !== undefined) {
      if (this.#warnings !== undefined && !this.isSink && !this.isOver) {
        this.#progress ??= new Progress(this, this.#warnings);
        this.#progress.onSend();
      }
      return this.#queue.push(message);
    }
    return handled(
      Promise.reject(
        failure(Code.FailedPrecondition, `${this.name}: nothing can be sent after half-close`),
      ),
    );
  }

  closeSend(): void {
    this.#halfClosed = true;
    this.#queue?.end();
  }

  cancel(reason?: unknown): void {
    if (this.#state !== "closed") this.#abort(fromAbort(reason));
  }

  finish(): Promise<MessageShape<O>> {
    this.#finished ??= this.#finish();
    return this.#finished;
  }

  async #finish(): Promise<MessageShape<O>> {
    this.closeSend();
    const first = await this.#next();
    const second = first.done === true ? first : await this.#next();
    if (second.done !== true) this.cancel();
    if (first.done !== true && second.done === true) return first.value;
    const got = first.done === true ? "no response" : "more than one response";
    throw failure(Code.Unimplemented, `protocol error: ${this.name} got ${got}; it has just one`);
  }

  [Symbol.asyncIterator](): AsyncIterator<MessageShape<O>, undefined> {
    const next = () => (this.#loop === next || this.#begins(next) ? this.#next() : this.#refused());
    const leave = async (): Promise<IteratorReturnResult<undefined>> => {
      this.#isRead = true;
      if (this.#state !== "closed") {
        this.#abort(failure(Code.Canceled, "the caller left the loop"));
      }
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

  /** Another loop may follow one that neither waits nor has ended. */
  #begins(next: unknown): boolean {
    if (this.#loop !== undefined && (this.#isRead || this.isAwaited)) return false;
    this.#loop = next;
    return true;
  }

  #refused(): Promise<never> {
    return Promise.reject(iteratedBefore(`the responses of ${this.name}`));
  }

  #opened(): void {
    if (this.#state === "connecting") this.#change("open");
  }

  // As ProgressingCall.

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

  /** As CallWatcher: what carries the call tells. */
  onSession(): void {
    this.#resumable = true;
  }

  onCarried(state: "open" | "resuming"): void {
    if (this.#state !== "closed") this.#change(state);
  }

  onSendEnded(error: unknown): void {
    this.#queue?.fail(error);
  }

  #change(state: CallState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#listeners.tell(state);
  }

  /** Ends the call, also where an interceptor did not leave the responses that it was given. */
  #onError(error: unknown): never {
    this.#awaited--;
    this.#isRead = true;
    const failed = asFailure(error);
    this.#fail(failed);
    this.#controller.abort(failed);
    throw failed;
  }

  #next(): Promise<IteratorResult<MessageShape<O>, undefined>> {
    this.#progress?.onRead();
    if (this.#inbox !== undefined) return this.#inbox.next();
    this.#awaited++;
    if (this.#messages !== undefined) return this.#read(this.#messages);
    return this.#response.then((response) => {
      this.#answer = response;
      if (isInbound(response.message)) {
        // Ours: it tells of its end, and each message costs one promise less.
        this.#inbox = response.message;
        this.#inbox.onEnd = (error) => {
          this.#isRead = true;
          if (error === undefined) this.#end();
          else this.#fail(asFailure(error));
        };
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

  /** As #next(), of an iterable that is not ours: it may throw at once. */
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
    this.#isRead = true;
    try {
      this.#end();
    } finally {
      // An interceptor may end the responses before those that it was given end.
      this.#controller.abort(OVER);
    }
    return { done: true, value: undefined };
  }

  /** The server ended the call well, and all is read. */
  #end(): void {
    if (this.#state === "closed") return;
    this.#close(failure(Code.FailedPrecondition, `${this.name}: the server has ended the call`));
    const { trailer } = this.#answer as StreamResponse<I, O>;
    try {
      this.#listeners.run(() => this.#options.onTrailer?.(trailer));
    } catch (error) {
      const failed = asFailure(error);
      this.#ended.reject(failed);
      throw failed;
    }
    this.#ended.resolve(trailer);
  }

  #fail(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#close(error);
    this.#ended.reject(error);
  }

  #abort(error: ConnectError): void {
    this.#giveUp(error);
    this.#controller.abort(error);
    this.#fail(error);
  }

  #close(sendError: unknown): void {
    this.#change("closed");
    this.#progress?.onEnd();
    this.#callerAbort?.[Symbol.dispose]();
    this.#queue?.fail(sendError);
  }
}
