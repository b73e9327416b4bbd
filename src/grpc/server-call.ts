import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type MethodImplSpec } from "@connectrpc/connect";
import type {
  End,
  HeaderList,
  Outcome,
  Received,
  ServerCallStream,
  ServerStreamListener,
} from "../call-stream.ts";
import { deadlineExceeded, peerFailure, toWire } from "../failure.ts";
import { Inbox, type InboxSource } from "../flow/inbox.ts";
import { leave, pump } from "../flow/pump.ts";
import { inSlice } from "../flow/slice.ts";
import { startTimer } from "../flow/wait.ts";
import type { Pump, Writer } from "../flow/writer.ts";
import { endOf, OVER, UNSENDABLE } from "./call-end.ts";
import { type CallContext, createContext } from "./context.ts";
import { ExactlyOne, type OnlyMessageListener } from "./exactly-one.ts";
import type { AwaitingCall } from "./first-request-timer.ts";
import { COMPRESSED } from "./framing.ts";
import { acceptsGzip, readTimeout, refusalOf, responseHead } from "./incoming.ts";
import {
  type HandlerResult,
  invoke,
  isThenable,
  type Requests,
  takesOneRequest,
} from "./invoke.ts";
import { KeptMessages } from "./kept-messages.ts";
import { MessageReader, type MessageSender, MessageWriter } from "./message.ts";
import { hasMetadata } from "./metadata.ts";
import { addHandlerHeaders, type HeadersLeft } from "./response-headers.ts";
import type { ServerCallInit, ServerCallOptions } from "./server-call-options.ts";

/** An open call, whatever the types of its messages. */
export type OpenCall = Pick<ServerCall, "method" | "error" | "abort" | "rosterIndex">;

const RESOLVED = Promise.resolve();

/** An expired call is reset if its status was not sent within this time. */
const END_MS = 1000;

/**
 * One gRPC call on the server: a stream on one side, a handler on the other.
 * Every kind is bidirectional here. The call ends once, by the first of: the
 * handler's end, the deadline, a protocol error, the client's cancel, the loss
 * of the connection, the server's shutdown.
 */
export class ServerCall<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage>
  implements
    ServerStreamListener,
    AwaitingCall,
    MessageSender,
    InboxSource<Received, MessageShape<I>>,
    OnlyMessageListener<MessageShape<I>>,
    Writer<MessageInitShape<O>>
{
  /** Its place among the calls of the server. */
  rosterIndex = -1;
  /** Why the call has ended, if it has ended and its status is not OK. */
  error: ConnectError | undefined;
  readonly #stream: ServerCallStream;
  readonly #spec: MethodImplSpec<I, O>;
  readonly #options: ServerCallOptions;
  readonly #contentType: string;
  readonly #context: CallContext;
  readonly #turnsOf: object;
  readonly #reader: MessageReader<I>;
  readonly #writer: MessageWriter<O>;
  /** The only request of a handler that takes one, or the requests of any other. */
  readonly #requests: ExactlyOne<Received, MessageShape<I>> | Inbox<Received, MessageShape<I>>;
  /** Undefined until a request has waited. */
  #kept: KeptMessages | undefined;
  readonly #gzip: boolean;
  #closed: ((call: OpenCall) => void) | undefined;
  #deadline: Disposable | undefined;
  #pump: Pump | undefined;
  readonly #refused: ConnectError | undefined;
  #headersSent = false;
  /** Whether the first request, or the half-close without one, has arrived. */
  #hasRequest = false;
  /** Whether the response headers wait for the first request without a limit: holdHeaders() was called. */
  #holdsHeaders = false;
  #isOver = false;

  /**
   * @param open makes the stream of the call
   * @param onClosed called when that stream is closed, however the call ended
   */
  constructor(
    { incoming, spec, options, turnsOf, scope }: ServerCallInit<I, O>,
    open: (call: ServerStreamListener) => ServerCallStream,
    onClosed: (call: OpenCall) => void,
  ) {
    const { fields, rawHeaders, caller } = incoming;
    this.#spec = spec;
    this.#options = options;
    this.#closed = onClosed;
    this.#turnsOf = turnsOf;
    this.#contentType = String(fields.contentType);
    const timeout = readTimeout(fields, options.maxTimeoutMs);
    const timeoutMs = timeout instanceof ConnectError ? undefined : timeout;
    this.#refused = refusalOf(fields, timeout);
    this.#context = createContext(spec.method, { rawHeaders, caller, timeoutMs, scope }, this);
    this.#gzip = acceptsGzip(fields, options.sendCompression);
    const { encoding } = fields;
    this.#reader = new MessageReader(spec.method.input, options, { encoding, turnsOf });
    this.#requests = this.#receiveRequests();
    this.#stream = open(this);
    const compressFromBytes = this.#gzip ? options.compressMinBytes : undefined;
    const sendOptions = { messages: options, compressFromBytes };
    this.#writer = new MessageWriter(spec.method.output, sendOptions, this);
    if (timeoutMs !== undefined) {
      this.#deadline = startTimer(timeoutMs, () => this.#expire(timeoutMs));
    }
  }

  #receiveRequests(): ExactlyOne<Received, MessageShape<I>> | Inbox<Received, MessageShape<I>> {
    const { kind } = this.#spec;
    if (takesOneRequest(kind, this.#options.interceptors)) {
      return new ExactlyOne(this, { listener: this, what: "request", call: `a ${kind} call` });
    }
    const inbox = new Inbox<Received, MessageShape<I>>(this, "the requests of a call");
    if (kind === "bidi_streaming") inbox.onDry = () => this.#sendHeadersIfDry();
    return inbox;
  }

  get method(): DescMethod {
    return this.#spec.method;
  }

  /** Runs the handler, or refuses the call if its headers are not supported. */
  start(): void {
    if (this.#refused !== undefined) this.#finish(this.#refused);
    else if (this.#requests instanceof Inbox) this.#run(this.#requests);
  }

  /** Ends the call with an error now, whatever the handler does. */
  abort(error: ConnectError): void {
    this.#finish(error);
  }

  // ServerStreamListener: called by the stream.

  onMessage(message: Received): void {
    if ((message.flags & COMPRESSED) !== 0) this.#reader.onCompressed();
    this.#hasRequest = true;
    this.#requests.put(message);
  }

  onHalfClose(isWhole: boolean): void {
    this.#hasRequest = true;
    if (isWhole) this.#requests.close();
    else this.#finish(peerFailure(Code.Internal, "protocol error: the last message was cut off"));
  }

  onInvalid(error: ConnectError): void {
    this.#finish(error);
  }

  onClosed(outcome: Outcome): void {
    if (outcome.is === "unsendable") this.#report(outcome.error);
    if (!this.#isOver) {
      this.#isOver = true;
      this.error = outcome.is === "lost" ? outcome.error : UNSENDABLE;
      this.#release(this.error);
    }
    this.#deadline?.[Symbol.dispose]();
    this.#closed?.(this);
    this.#closed = undefined;
  }

  /** Sends the response headers, if they have not been sent. */
  sendHeaders(left: HeadersLeft): void {
    const fault = this.#sendHeaders(left);
    if (fault !== undefined) this.#finish(fault);
  }

  /** Returns the stream for an encoded response; sends the headers first. */
  outgoing(): ServerCallStream {
    if (!this.#headersSent) this.sendHeaders("with the first response");
    return this.#stream;
  }

  /**
   * Sends the response headers. If those of the handler are not valid, leaves them out and returns the error of the
   * call.
   */
  #sendHeaders(left: HeadersLeft): ConnectError | undefined {
    if (this.#headersSent) return undefined;
    this.#headersSent = true;
    if (this.#requests instanceof Inbox) this.#requests.onDry = undefined;
    this.#context.closeHeaders(left);
    const metadata = this.#context.setHeaders();
    const head = this.#head();
    if (!hasMetadata(metadata)) {
      this.#stream.sendHeaders(head);
      return undefined;
    }
    const headers = { ...head };
    const fault = addHandlerHeaders(headers, metadata, this.#stream.announcedHeaderBytes);
    if (fault !== undefined) this.#report(fault);
    this.#stream.sendHeaders(fault === undefined ? headers : head);
    return fault;
  }

  /** Makes the response headers wait for the first request. */
  holdHeaders(): void {
    this.#holdsHeaders = true;
  }

  onFirstRequestLate(): void {
    if (this.#hasRequest || this.#isOver || this.#holdsHeaders) return;
    this.sendHeaders("when no request had come for 50 ms");
  }

  // InboxSource: called by the Inbox, or the ExactlyOne.

  open(message: Received): MessageShape<I> | Promise<MessageShape<I>> {
    this.#stream.taken(message.end - message.start);
    return this.#reader.open(message, this.#stream);
  }

  drop(message: Received): void {
    if (!this.#isOver) this.#stream.taken(message.end - message.start);
  }

  readOf({ bytes }: Received): Uint8Array {
    return bytes;
  }

  keep(message: Received, isFirst: boolean): Received {
    this.#kept ??= new KeptMessages();
    return this.#kept.keep(message, isFirst);
  }

  /** Sends the response headers, for which the client may wait: now if it has sent a request, else within 50 ms. */
  #sendHeadersIfDry(): void {
    if (this.#hasRequest) this.sendHeaders("when the handler waited for its second request");
    else this.#options.firstRequests.add(this);
  }

  onRefuse(error: unknown): void {
    this.#finish(toWire(error));
  }

  // Writer: called by the pump of the handler's responses, or for its only response.

  write(response: MessageInitShape<O>): Promise<void> | undefined {
    // The headers are sent when the response is encoded. They are closed here already, so that there is one rule for
    // handlers.
    if (!this.#headersSent) this.#context.closeHeaders("with the first response");
    return this.#writer.write(response);
  }

  end(): void {
    this.#finish(undefined);
  }

  // OnlyMessageListener: called by the ExactlyOne.

  onOnlyMessage(request: MessageShape<I>): void {
    this.#run({ only: request });
  }

  onNoMessage(error: unknown): void {
    this.fail(error);
  }

  /**
   * Runs the handler, in a microtask: what it does at once, for example AsyncLocalStorage.enterWith(), must not reach the
   * other requests in the chunk that is being read.
   */
  #run(requests: Requests<I>): void {
    const context = this.#context;
    const { interceptors } = this.#options;
    const run = () => {
      try {
        this.#send(invoke(this.#spec, { context, requests, interceptors }));
      } catch (error) {
        this.fail(error);
      }
    };
    RESOLVED.then(context.inScope(run));
  }

  /** Sends what the handler has returned. */
  #send(result: HandlerResult<O>): void {
    if ("one" in result) {
      const { one } = result;
      if (!isThenable(one)) this.#respond(one);
      else {
        Promise.resolve(one).then(
          // Any number of handlers may have waited for the same thing, and what they return may be large.
          (response) => inSlice(() => this.#respond(response), this.#turnsOf),
          (error) => this.fail(error),
        );
      }
      return;
    }
    const onLate = (error: unknown) => this.#onLate(error);
    if (this.#isOver) {
      leave(result.many[Symbol.asyncIterator](), onLate);
      return;
    }
    this.#pump = pump(result.many, this, onLate);
    // The pump may have ended the call already.
    if (this.#isOver) this.#pump.stop();
  }

  #respond(response: MessageInitShape<O>): void {
    if (this.#isOver) return;
    try {
      const written = this.write(response);
      if (written === undefined) this.end();
      else {
        written.then(
          () => this.end(),
          (error) => this.fail(error),
        );
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** Ends the call with the error that the handler threw, or the iteration of its responses. */
  fail(error: unknown): void {
    if (this.#isOver) {
      this.#onLate(error);
      return;
    }
    const sent = toWire(error);
    if (sent !== error) this.#report(error);
    this.#finish(sent);
  }

  /**
   * Reports what a handler throws after the end of its call, unless it is the error of its signal or of its requests.
   */
  #onLate(error: unknown): void {
    if (error instanceof ConnectError || error === this.#context.signal.reason) return;
    if (error instanceof Error && error.name === "AbortError") return;
    this.#report(error);
  }

  /** Reports a bug of the handler to the server's logger. */
  #report(error: unknown): void {
    this.#options.onHandlerError(error, this.#spec.method);
  }

  /** Ends an expired call, and resets its stream after END_MS: a client that does not read would keep it for ever. */
  #expire(timeoutMs: number): void {
    const expired = deadlineExceeded(timeoutMs);
    const resetLater = () => this.#stream.reset(expired);
    if (this.#isOver) {
      resetLater();
      return;
    }
    // Before #finish(): that may close the call already, and then the timer must not run.
    this.#deadline = startTimer(END_MS, resetLater);
    this.#finish(expired);
  }

  #finish(error: ConnectError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // In a trailers-only response the handler's headers could not be distinguished from its trailers.
    const fault = hasMetadata(this.#context.setHeaders())
      ? this.#sendHeaders("at the end of the call")
      : undefined;
    const end = this.#end(fault ?? error);
    if (end.status !== "ok") this.error = end.status;
    this.#stream.endSend(end);
    this.#release(error ?? OVER);
  }

  #end(error: ConnectError | undefined): End {
    const head = this.#headersSent ? undefined : this.#head();
    const metadata = this.#context.setTrailers();
    const { end, fault } = endOf({ error, metadata, head, stream: this.#stream });
    if (fault !== undefined) this.#report(fault);
    return end;
  }

  /** The headers that every response has. */
  #head(): HeaderList {
    return responseHead(this.#contentType, this.#gzip);
  }

  /** Aborts the handler's signal, and ends its requests and responses. */
  #release(error: ConnectError): void {
    this.#context.abort(error);
    this.#reader.drop(error);
    this.#requests.fail(error);
    this.#pump?.stop();
  }
}
