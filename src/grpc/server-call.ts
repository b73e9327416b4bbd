import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, type MethodImplSpec } from "@connectrpc/connect";
import type {
  End,
  HeaderList,
  Outcome,
  Received,
  ServerCallStream,
  ServerStreamListener,
} from "../call-stream.ts";
import { deadlineExceeded, failure, toWire } from "../failure.ts";
import { Inbox, type InboxSource } from "../flow/inbox.ts";
import { leave, pump } from "../flow/pump.ts";
import { startTimer } from "../flow/wait.ts";
import type { Pump, Writer } from "../flow/writer.ts";
import { type CallContext, createContext } from "./context.ts";
import type { AwaitingCall, FirstRequestTimer } from "./first-request-timer.ts";
import { alone, COMPRESSED } from "./framing.ts";
import {
  DATE_BYTES,
  headerListBytes,
  responseHeadersLimit,
  trailersLimit,
} from "./header-limits.ts";
import {
  acceptsGzip,
  type Incoming,
  readEncoding,
  readTimeout,
  refusalOf,
  responseHead,
  type SendCompression,
} from "./incoming.ts";
import { invoke } from "./invoke.ts";
import type { MessageOptions } from "./limits.ts";
import { MessageReader, type MessageSender, MessageWriter } from "./message.ts";
import { addMetadata, hasMetadata } from "./metadata.ts";
import type { HeadersLeft } from "./response-headers.ts";
import { fitTrailers } from "./status.ts";

/** What all calls of a server share. */
export interface ServerCallOptions extends MessageOptions {
  readonly interceptors: Interceptor[];
  readonly sendCompression: SendCompression;
  /** Smaller responses are never compressed. */
  readonly compressMinBytes: number;
  /** A client may not ask for a longer deadline. */
  readonly maxTimeoutMs: number;
  /** Of the server: tells bidirectional calls that no request came for a while. */
  readonly firstRequests: FirstRequestTimer;
  /** Told of what a handler threw that is not a ConnectError: a bug. */
  readonly onHandlerError: (error: unknown, path: string) => void;
}

/** A call of any messages, as the sets of open calls know it. */
export type OpenCall = Pick<ServerCall, "method" | "abort">;

/** Why a handler's signal aborts when its call is over. */
const OVER = failure(Code.Canceled, "the call is over");

/** Why it aborts where HTTP/2 does not allow the headers that the handler set. */
const UNSENDABLE = failure(Code.Internal, "the response headers or trailers could not be sent");

/** How long the status of an expired call may take to leave. */
const END_MS = 1000;

/** What a call is made from. */
export interface ServerCallInit<I extends DescMessage, O extends DescMessage> {
  readonly incoming: Incoming;
  readonly spec: MethodImplSpec<I, O>;
  readonly options: ServerCallOptions;
}

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
    Writer<MessageInitShape<O>>
{
  readonly #stream: ServerCallStream;
  readonly #spec: MethodImplSpec<I, O>;
  readonly #options: ServerCallOptions;
  readonly #contentType: string;
  readonly #context: CallContext;
  readonly #requests: MessageReader<I>;
  readonly #responses: MessageWriter<O>;
  readonly #inbox: Inbox<Received, MessageShape<I>>;
  readonly #gzip: boolean;
  #closed: ((call: OpenCall) => void) | undefined;
  #deadline: Disposable | undefined;
  #pump: Pump | undefined;
  readonly #refused: ConnectError | undefined;
  #headersSent = false;
  /** Whether a request came, or the half-close without one: no handler waits for its first any more. */
  #begun = false;
  /** Whether the response headers wait for the first request, however long it takes. */
  #holds = false;
  #over = false;

  /**
   * @param open makes the stream of the call
   * @param onClosed called when that stream is closed, however the call ended
   */
  constructor(
    { incoming, spec, options }: ServerCallInit<I, O>,
    open: (call: ServerStreamListener) => ServerCallStream,
    onClosed: (call: OpenCall) => void,
  ) {
    const { headers, rawHeaders } = incoming;
    this.#spec = spec;
    this.#options = options;
    this.#closed = onClosed;
    this.#contentType = headers["content-type"] as string;
    const timeout = readTimeout(headers, options.maxTimeoutMs);
    const timeoutMs = timeout instanceof ConnectError ? undefined : timeout;
    this.#refused = refusalOf(headers, timeout);
    this.#context = createContext(spec.method, { rawHeaders, timeoutMs }, this);
    this.#gzip = acceptsGzip(headers, options.sendCompression);
    this.#requests = new MessageReader(spec.method.input, options, readEncoding(headers));
    this.#inbox = new Inbox<Received, MessageShape<I>>(this, "the requests of a call");
    if (spec.kind === "bidi_streaming") this.#inbox.onDry = () => this.#sendHeadersIfDry();
    this.#stream = open(this);
    const compressFromBytes = this.#gzip ? options.compressMinBytes : undefined;
    const { writeMaxBytes, binaryOptions, compression } = options;
    const limits = { writeMaxBytes, binaryOptions, compression, compressFromBytes };
    this.#responses = new MessageWriter(spec.method.output, limits, this);
    if (timeoutMs !== undefined) {
      this.#deadline = startTimer(timeoutMs, () => this.#expire(timeoutMs));
    }
  }

  get method(): DescMethod {
    return this.#spec.method;
  }

  /** Runs the handler; or refuses the call where its headers ask for what is not supported. */
  start(): void {
    if (this.#refused !== undefined) this.#finish(this.#refused);
    else this.#run();
  }

  /** Ends the call with an error now, whatever the handler does. */
  abort(error: ConnectError): void {
    this.#finish(error);
  }

  // What the stream brings.

  onMessage(message: Received): void {
    if ((message.flags & COMPRESSED) !== 0) this.#requests.onCompressed();
    this.#begun = true;
    this.#inbox.put(message);
  }

  onHalfClose(isWhole: boolean): void {
    this.#begun = true;
    if (isWhole) this.#inbox.close();
    else this.#finish(failure(Code.Internal, "protocol error: the last message was cut off"));
  }

  onInvalid(error: ConnectError): void {
    this.#finish(error);
  }

  onClosed(outcome: Outcome): void {
    if (outcome.is === "unsendable") this.#report(outcome.error);
    if (!this.#over) {
      this.#over = true;
      this.#release(outcome.is === "lost" ? outcome.error : UNSENDABLE);
    }
    this.#deadline?.[Symbol.dispose]();
    this.#closed?.(this);
    this.#closed = undefined;
  }

  /** Sends the response headers, where they have not left yet. */
  sendHeaders(left: HeadersLeft): void {
    const fault = this.#sendHeaders(left);
    if (fault !== undefined) this.#finish(fault);
  }

  /** A response is encoded: the headers leave before it. */
  outgoing(): ServerCallStream {
    if (!this.#headersSent) this.sendHeaders("with the first response");
    return this.#stream;
  }

  /** Returns why those of the handler cannot be sent, where they cannot: the call then ends with that. */
  #sendHeaders(left: HeadersLeft): ConnectError | undefined {
    if (this.#headersSent) return undefined;
    this.#headersSent = true;
    this.#inbox.onDry = undefined;
    this.#context.closeHeaders(left);
    const metadata = this.#context.setHeaders();
    const headers = this.#head();
    const fault = hasMetadata(metadata) ? this.#addHeaders(headers, metadata) : undefined;
    if (fault !== undefined) this.#report(fault);
    this.#stream.sendHeaders(fault === undefined ? headers : this.#head());
    return fault;
  }

  /** Returns why the response headers of the handler cannot be sent, where they cannot. */
  #addHeaders(headers: HeaderList, metadata: Headers): ConnectError | undefined {
    const wrong = addMetadata(headers, metadata);
    if (wrong !== undefined) {
      const what = `the handler's response headers cannot be sent: ${wrong}`;
      return failure(Code.Internal, what);
    }
    const bytes = headerListBytes(headers);
    const limitBytes = responseHeadersLimit(this.#stream.announcedHeaderBytes);
    if (bytes <= limitBytes) return undefined;
    return failure(
      Code.ResourceExhausted,
      `the response headers are ${bytes} B (32 B are counted for each), over the ${limitBytes} B that this client can be sent: set fewer, or send it in a message`,
    );
  }

  /** They do not leave before the first request comes. */
  holdHeaders(): void {
    this.#holds = true;
  }

  onFirstRequestLate(): void {
    if (this.#begun || this.#over || this.#holds) return;
    this.sendHeaders("when no request had come for 50 ms");
  }

  // What the inbox asks for.

  open(message: Received): MessageShape<I> | Promise<MessageShape<I>> {
    this.#stream.taken(message.end - message.start);
    return this.#requests.open(message);
  }

  drop(message: Received): void {
    if (!this.#over) this.#stream.taken(message.end - message.start);
  }

  keep(message: Received): Received {
    return alone(message);
  }

  /** Sends the response headers, for which the client may wait: now if a request has come, else within 50 ms. */
  #sendHeadersIfDry(): void {
    if (this.#begun) this.sendHeaders("when the handler waited for its second request");
    else this.#options.firstRequests.add(this);
  }

  onRefuse(error: unknown): void {
    this.#finish(toWire(error));
  }

  // What the handler's responses are written to.

  write(response: MessageInitShape<O>): Promise<void> | undefined {
    // They leave when the response is encoded. From here on they cannot be changed, so that a handler can rely on one rule.
    if (!this.#headersSent) this.#context.closeHeaders("with the first response");
    return this.#responses.write(response);
  }

  end(): void {
    this.#finish(undefined);
  }

  async #run(): Promise<void> {
    try {
      const { interceptors } = this.#options;
      const invocation = { context: this.#context, requests: this.#inbox, interceptors };
      const result = await invoke(this.#spec, invocation);
      if (this.#over) {
        if ("many" in result) leave(result.many[Symbol.asyncIterator](), this.#onLate);
      } else if ("many" in result) {
        this.#pump = pump(result.many, this, this.#onLate);
        // It may have ended at once.
        if (this.#over) this.#pump.stop();
      } else {
        await this.write(result.one);
        this.end();
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** What the handler threw, or its responses did. */
  fail(error: unknown): void {
    if (this.#over) {
      this.#onLate(error);
      return;
    }
    const sent = toWire(error);
    if (sent !== error) this.#report(error);
    this.#finish(sent);
  }

  /** What a handler throws after the end of its call: a bug, unless it is the error that its signal or its requests gave it. */
  readonly #onLate = (error: unknown): void => {
    if (error instanceof ConnectError || error === this.#context.signal.reason) return;
    if (error instanceof Error && error.name === "AbortError") return;
    this.#report(error);
  };

  get #path(): string {
    const { parent, name } = this.#spec.method;
    return `/${parent.typeName}/${name}`;
  }

  /** Tells the server's logger of a bug of the handler. */
  #report(error: unknown): void {
    this.#options.onHandlerError(error, this.#path);
  }

  /** A client that does not read would hold the stream for ever; it knows its deadline. */
  #expire(timeoutMs: number): void {
    const expired = deadlineExceeded(timeoutMs);
    const resetLater = () => this.#stream.reset(expired);
    if (this.#over) {
      resetLater();
      return;
    }
    this.#finish(expired);
    this.#deadline = startTimer(END_MS, resetLater);
  }

  #finish(error: ConnectError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    // Metadata of the two kinds would become one in a response of trailers only.
    const fault = hasMetadata(this.#context.setHeaders())
      ? this.#sendHeaders("at the end of the call")
      : undefined;
    this.#stream.endSend(this.#end(fault ?? error));
    this.#release(error ?? OVER);
  }

  /** What the call ends with; where no headers were sent, they are among it. */
  #end(error: ConnectError | undefined): End {
    const status = error ?? "ok";
    const metadata = this.#context.setTrailers();
    const head = this.#headersSent ? undefined : this.#head();
    delete head?.["grpc-encoding"];
    if (error === undefined && !hasMetadata(metadata)) {
      return { status, trailers: { ...head, "grpc-status": "0" } };
    }
    const headBytes = head === undefined ? 0 : headerListBytes(head) + DATE_BYTES;
    const usedBytes = this.#stream.ownTrailerBytes + headBytes;
    const limitBytes = trailersLimit(this.#stream.announcedHeaderBytes);
    const { fields, fault } = fitTrailers(error, metadata, { limitBytes, usedBytes });
    if (fault !== undefined) this.#report(fault);
    return { status, trailers: { ...head, ...fields } };
  }

  /** The headers that every response has. */
  #head(): HeaderList {
    return responseHead(this.#contentType, this.#gzip);
  }

  /** Ends what the handler has: its signal aborts, its requests and responses end. */
  #release(error: ConnectError): void {
    this.#context.abort(error);
    this.#requests.drop(error);
    this.#inbox.fail(error);
    this.#pump?.stop();
  }
}
