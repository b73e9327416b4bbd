import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import type {
  ClientCallListener,
  ClientCallStream,
  HeaderList,
  Outcome,
  Received,
  Status,
} from "../call-stream.ts";
import { asFailure, deadlineExceeded, failure, fromAbort, ownCopy } from "../failure.ts";
import { Inbox, type InboxSource, type MessageSink } from "../flow/inbox.ts";
import { pump } from "../flow/pump.ts";
import { type AsyncContext, runtime } from "../flow/runtime.ts";
import { type AbortSource, onAbort, startTimer } from "../flow/wait.ts";
import type { Pump, Writer } from "../flow/writer.ts";
import { ExactlyOne, type OnlyMessageListener } from "./exactly-one.ts";
import { COMPRESSED } from "./framing.ts";
import { KeptMessages } from "./kept-messages.ts";
import type { MessageOptions } from "./limits.ts";
import { MessageReader, type MessageSender, MessageWriter } from "./message.ts";
import { toHeaders } from "./metadata.ts";
import type { Deadline } from "./timeout.ts";

/**
 * The error of writes after the server has ended the call. It is made once, since its stack would take a tenth of a
 * unary call; callers get copies.
 */
const ENDED = failure(
  Code.FailedPrecondition,
  "the server has ended the call: nothing is sent any more",
);

/** The parameters of a call. */
export interface ClientCallInit<I extends DescMessage, O extends DescMessage> {
  readonly method: DescMethod & { readonly input: I; readonly output: O };
  readonly messages: MessageOptions;
  /** `timeoutMs` as the caller set it, and its end by performance.now(). */
  readonly deadline: Deadline | undefined;
  readonly signal: AbortSource | undefined;
  /** Requests of at least this size are compressed; `undefined`: none are. */
  readonly compressFromBytes: number | undefined;
  readonly requests: AsyncIterable<MessageInitShape<I>>;
  readonly watcher: SendWatcher | undefined;
  /** Called once, when the call has ended, with the error unless its status is OK. Its responses may not have been read. */
  readonly onEnded?: ((error: ConnectError | undefined) => void) | undefined;
  /** Receives the only response, if the call has exactly one. Default: `responses` has them. */
  readonly onlyResponse?: OnlyMessageListener<MessageShape<O>> | undefined;
}

/** Listens for the end of sending, for a queue of requests. */
export interface SendWatcher {
  /** Called when the call takes no more requests: waiting and later ones fail with `error`. */
  onSendEnded(error: unknown): void;
}

/**
 * One gRPC call of a client, of any kind: requests in, responses out, over a
 * CallStream. It ends once, by the first of: the server's status, the caller's
 * cancel, the deadline, a protocol error, the loss of its stream.
 */
export class ClientCall<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage>
  implements
    ClientCallListener,
    MessageSender,
    InboxSource<Received, MessageShape<O>>,
    Writer<MessageInitShape<I>>
{
  readonly #responses: MessageSink<Received>;
  readonly #init: ClientCallInit<I, O>;
  /** The promise of `answered`, while something waits for it. */
  #answer: PromiseWithResolvers<void> | undefined;
  #stream: ClientCallStream | undefined;
  #writer: MessageWriter<I> | undefined;
  #reader: MessageReader<O> | undefined;
  /** Undefined until a response has waited. */
  #kept: KeptMessages | undefined;
  #pump: Pump | undefined;
  #deadline: Disposable | undefined;
  #abort: Disposable | undefined;
  #head: HeaderList | undefined;
  #tail: HeaderList | undefined;
  #header: Headers | undefined;
  #trailer: Headers | undefined;
  #isOver = false;
  /** Why the call has ended, if not with OK. */
  #error: ConnectError | undefined;
  /** The context in which the call was made, while it waits for its stream. */
  #context: AsyncContext | undefined;

  /** @param open gives the call its stream, now or later */
  constructor(init: ClientCallInit<I, O>, open: (call: ClientCallListener) => void) {
    this.#init = init;
    const { deadline, signal, onlyResponse } = init;
    this.#responses =
      onlyResponse === undefined
        ? new Inbox(this, "the responses of a call")
        : new ExactlyOne(this, { listener: onlyResponse, what: "response", call: "a unary call" });
    if (deadline !== undefined) {
      this.#deadline = startTimer(deadline.endsAt - performance.now(), () =>
        this.#finish(deadlineExceeded(deadline.timeoutMs), true),
      );
    }
    if (signal !== undefined) {
      this.#abort = onAbort(signal, (reason) => this.#finish(fromAbort(reason), true));
    }
    if (!this.#isOver) open(this);
    if (this.#writer === undefined && !this.#isOver) this.#context = runtime.currentContext();
  }

  /** The responses: ends at the status OK, throws at any other end. A call with `onlyResponse` has none. */
  get responses(): Inbox<Received, MessageShape<O>> {
    if (this.#responses instanceof Inbox) return this.#responses;
    throw new Error("the only response of a call goes to its listener");
  }

  /** Resolves when the response headers have arrived; rejects if the call ends without them. */
  get answered(): Promise<void> {
    if (this.committed) return Promise.resolve();
    if (this.#isOver) {
      return this.#error === undefined ? Promise.resolve() : Promise.reject(this.#error);
    }
    this.#answer ??= Promise.withResolvers();
    return this.#answer.promise;
  }

  /** Whether a stream was opened. If not, nothing was sent. */
  get reached(): boolean {
    return this.#writer !== undefined;
  }

  /** Whether the server sent response headers. A trailers-only response does not count. */
  get committed(): boolean {
    return this.#reader !== undefined;
  }

  /** The response headers; empty until they arrive. */
  get header(): Headers {
    this.#header ??= toHeaders(this.#head ?? {});
    return this.#header;
  }

  /** The trailers; empty until the end of the call. */
  get trailer(): Headers {
    this.#trailer ??= toHeaders(this.#tail ?? {});
    return this.#trailer;
  }

  // ClientCallListener: called by the stream.

  get isOver(): boolean {
    return this.#isOver;
  }

  onStream(stream: ClientCallStream): void {
    this.#stream = stream;
    this.#writer?.useStream(stream);
  }

  onOpen(): void {
    const { method, messages, requests, compressFromBytes } = this.#init;
    this.#writer = new MessageWriter(method.input, { messages, compressFromBytes }, this);
    const start = () => pump(requests, this);
    this.#pump = this.#context === undefined ? start() : this.#context.runInAsyncScope(start);
    this.#context = undefined;
    // The pump may have ended the call already.
    if (this.#isOver) this.#pump.stop();
  }

  onHeaders(headers: HeaderList, from: ClientCallStream): void {
    this.#stream = from;
    this.#writer?.useStream(from);
    this.#head = headers;
    const encoding = headers["grpc-encoding"] as string | undefined;
    const { method, messages } = this.#init;
    this.#reader = new MessageReader(method.output, messages, { encoding });
    this.#onAnswered();
  }

  onMessage(message: Received): void {
    if ((message.flags & COMPRESSED) !== 0) this.#reader?.onCompressed();
    this.#responses.put(message);
  }

  onInvalid(error: ConnectError): void {
    this.#finish(error, false);
  }

  onFailed(error: ConnectError): void {
    this.#finish(error, true);
  }

  onClosed(outcome: Outcome): void {
    if (outcome.is === "ended") this.#onEnd(outcome.status, outcome.trailers);
    else this.#finish(this.#meaningOf(asFailure(outcome.error)), false);
  }

  #onEnd(status: Status, trailers: HeaderList): void {
    this.#head ??= trailers;
    this.#tail = trailers;
    if (this.#trailer !== undefined) {
      for (const [name, value] of toHeaders(trailers)) this.#trailer.append(name, value);
    }
    if (status === "ok") this.#onAnswered();
    this.#finish(status === "ok" ? undefined : status, false);
  }

  /**
   * Turns CANCELED after the deadline into DEADLINE_EXCEEDED: the server has the deadline too, and may cancel first.
   */
  #meaningOf(error: ConnectError): ConnectError {
    const { deadline } = this.#init;
    const isCanceled = error.code === Code.Canceled;
    if (!isCanceled || deadline === undefined || performance.now() < deadline.endsAt) return error;
    return deadlineExceeded(deadline.timeoutMs);
  }

  // InboxSource: called by the Inbox, or the ExactlyOne.

  open(message: Received): MessageShape<O> | Promise<MessageShape<O>> {
    const stream = this.#stream as ClientCallStream;
    stream.taken(message.end - message.start);
    return (this.#reader as MessageReader<O>).open(message, stream);
  }

  drop(message: Received): void {
    if (!this.#isOver) this.#stream?.taken(message.end - message.start);
  }

  readOf({ bytes }: Received): Uint8Array {
    return bytes;
  }

  keep(message: Received, isFirst: boolean): Received {
    this.#kept ??= new KeptMessages();
    return this.#kept.keep(message, isFirst);
  }

  onLeave(): void {
    this.#finish(failure(Code.Canceled, "the caller left the call"), true);
  }

  onRefuse(error: unknown): void {
    this.#finish(asFailure(error), true);
  }

  // Writer: called by the pump of the requests.

  write(message: MessageInitShape<I>): Promise<void> | undefined {
    try {
      const written = (this.#writer as MessageWriter<I>).write(message);
      return written?.catch((error) => this.#refuse(error));
    } catch (error) {
      return this.#refuse(error);
    }
  }

  end(): void {
    this.#stream?.endSend();
  }

  fail(error: unknown): void {
    this.#finish(asFailure(error), true);
  }

  outgoing(): ClientCallStream {
    return this.#stream as ClientCallStream;
  }

  /** Ends the call, and fails send(): a request cannot be sent. */
  #refuse(error: unknown): never {
    const refusal =
      error instanceof TypeError
        ? failure(Code.InvalidArgument, error.message, error)
        : asFailure(error);
    this.#finish(refusal, true);
    throw refusal === ENDED ? ownCopy(ENDED) : refusal;
  }

  #onAnswered(): void {
    this.#answer?.resolve();
    this.#answer = undefined;
  }

  /** @param drop whether unread responses are dropped */
  #finish(error: ConnectError | undefined, drop: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#deadline?.[Symbol.dispose]();
    this.#abort?.[Symbol.dispose]();
    this.#error = error;
    if (error !== undefined) this.#answer?.reject(error);
    if (drop) {
      this.#reader?.drop(error);
      this.#responses.fail(error);
    } else this.#responses.close(error);
    this.#stream?.reset(error ?? ENDED);
    this.#init.watcher?.onSendEnded(error ?? ownCopy(ENDED));
    this.#pump?.stop();
    this.#init.onEnded?.(error);
  }
}
