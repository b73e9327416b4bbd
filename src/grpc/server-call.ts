import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, type MethodImplSpec } from "@connectrpc/connect";
import { ENCODING, isSupported } from "../codec/compression.ts";
import { deadlineExceeded, failure, toWire } from "../failure.ts";
import { Inbox, type Source } from "../flow/inbox.ts";
import { leave, type Pump, pump } from "../flow/pump.ts";
import type { Writer } from "../flow/queue.ts";
import { startTimer } from "../flow/wait.ts";
import type { ServerStream, StreamOwner } from "../node/http2/server-stream.ts";
import { type CallContext, createContext } from "./context.ts";
import type { AwaitingCall, FirstRequestTimer } from "./first-request-timer.ts";
import { alone, type Frame } from "./framing.ts";
import { headerListBytes, responseHeadersLimit, trailersLimit } from "./header-limits.ts";
import { invoke } from "./invoke.ts";
import { INBOX_BYTES, type MessageOptions } from "./limits.ts";
import { MessageReader, MessageWriter } from "./message.ts";
import { addMetadata, hasMetadata } from "./metadata.ts";
import type { HeadersLeft } from "./response-headers.ts";
import { fitTrailers } from "./status.ts";
import { parseTimeout } from "./timeout.ts";

/** What all calls of a server share. */
export interface ServerCallOptions extends MessageOptions {
  readonly interceptors: Interceptor[];
  /** "gzip" for all clients that accept it, "identity" for none, `undefined`: for those that send gzip. */
  readonly sendCompression: "gzip" | "identity" | undefined;
  /** Smaller responses are never compressed. */
  readonly compressMinBytes: number;
  /** A client may not ask for a longer deadline. */
  readonly maxTimeoutMs: number;
  /** Of the server: tells bidirectional calls that no request came for a while. */
  readonly firstRequests: FirstRequestTimer;
  /** Told of what a handler threw that is not a ConnectError: a bug. */
  readonly onHandlerError: (error: unknown, path: string) => void;
}

/** The headers that open a call, in both forms that node:http2 gives. */
export interface Incoming {
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
}

/** What carries a call: a ServerStream, or what looks like one that is never lost. */
export type ServerCarrier = Pick<ServerStream, CarrierMethod>;
type CarrierMethod =
  | "headersSent"
  | "announcedHeaderBytes"
  | "respond"
  | "write"
  | "end"
  | "fail"
  | "taken"
  | "stopReading"
  | "readOn"
  | "reset";

/** A call as what carries it sees it. */
export interface CarriedCall extends StreamOwner {
  /** The headers that every response has. */
  base(): OutgoingHttpHeaders;
}

/** A call as those see it who keep the open ones, of whatever messages. */
export type OpenCall = Pick<ServerCall, "method" | "abort">;

/** Why a handler's signal aborts when its call is over. */
const OVER = failure(Code.Canceled, "the call is over");

/** How long the status of an expired call may take to leave. */
const LAST_WORDS_MS = 1000;

/**
 * One gRPC call on the server: a stream on one side, a handler on the other.
 * Every kind is bidirectional here. The call ends once, by the first of: the
 * handler's end, the deadline, a protocol error, the client's cancel, the loss
 * of the connection, the server's shutdown.
 */
export class ServerCall<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage>
  implements CarriedCall, AwaitingCall, Source<Frame, MessageShape<I>>, Writer<MessageInitShape<O>>
{
  readonly #carrier: ServerCarrier;
  readonly #spec: MethodImplSpec<I, O>;
  readonly #options: ServerCallOptions;
  readonly #contentType: string;
  readonly #context: CallContext;
  readonly #requests: MessageReader<I>;
  readonly #responses: MessageWriter<O>;
  readonly #inbox: Inbox<Frame, MessageShape<I>>;
  readonly #gzip: boolean;
  #closed: ((call: OpenCall) => void) | undefined;
  #deadline: Disposable | undefined;
  #pump: Pump | undefined;
  #refused: ConnectError | undefined;
  #status: ConnectError | undefined;
  /** Whether a request came, or the half-close without one: no handler waits for its first any more. */
  #begun = false;
  /** Whether the response headers wait for the first request, however long it takes. */
  #holds = false;
  #over = false;

  /**
   * @param carry makes what carries the call
   * @param onClosed called when nothing carries the call any more, however it ended
   */
  constructor(
    { headers: incoming, rawHeaders }: Incoming,
    spec: MethodImplSpec<I, O>,
    options: ServerCallOptions,
    carry: (call: CarriedCall) => ServerCarrier,
    onClosed: (call: OpenCall) => void,
  ) {
    this.#spec = spec;
    this.#options = options;
    this.#closed = onClosed;
    this.#contentType = incoming["content-type"] as string;
    const timeout = readTimeout(incoming, options.maxTimeoutMs);
    const timeoutMs = timeout instanceof ConnectError ? undefined : timeout;
    this.#context = createContext(spec.method, rawHeaders, timeoutMs, this);
    this.#gzip = compresses(incoming, options.sendCompression);
    const encoding = incoming["grpc-encoding"] as string | undefined;
    this.#requests = new MessageReader(spec.method.input, options, encoding);
    this.#inbox = new Inbox<Frame, MessageShape<I>>(INBOX_BYTES, this, "the requests of a call");
    this.#carrier = carry(this);
    const fromBytes = this.#gzip ? options.compressMinBytes : undefined;
    this.#responses = new MessageWriter(spec.method.output, options, fromBytes, this.#carrier);
    if (timeoutMs !== undefined) {
      this.#deadline = startTimer(timeoutMs, () => this.#expire(timeoutMs));
    }
    if (timeout instanceof ConnectError) this.#refused = timeout;
    else if (!isSupported(encoding)) this.#refused = unknownEncoding(String(encoding));
  }

  get method(): DescMethod {
    return this.#spec.method;
  }

  /** Runs the handler, or refuses the call where its headers ask for what there is not. */
  start(): void {
    if (this.#refused !== undefined) this.#finish(this.#refused);
    else this.#run();
  }

  /** Ends the call with an error now, whatever the handler does. */
  abort(error: ConnectError): void {
    this.#finish(error);
  }

  // What the stream tells.

  onFrame(frame: Frame): boolean {
    this.#requests.check(frame);
    this.#begun = true;
    return this.#inbox.put(frame, frame.end - frame.start);
  }

  onHalfClose(): void {
    this.#begun = true;
    this.#inbox.close();
  }

  onCutOff(): void {
    this.#finish(failure(Code.Internal, "protocol error: the last message was cut off"));
  }

  onProtocolError(error: ConnectError): void {
    this.#finish(error);
  }

  onLost(error: ConnectError): void {
    this.#over = true;
    this.#release(error);
  }

  onClosed(): void {
    this.#deadline?.[Symbol.dispose]();
    this.#closed?.(this);
    this.#closed = undefined;
  }

  onHeadersNeeded(): void {
    this.sendHeaders("with the first response");
  }

  /** Sends the response headers, where they have not left yet. */
  sendHeaders(left: HeadersLeft): void {
    if (this.#carrier.headersSent) return;
    this.#context.closeHeaders(left);
    const metadata = this.#context.setHeaders();
    if (!hasMetadata(metadata)) {
      this.#carrier.respond(this.base());
      return;
    }
    const headers = this.base();
    const fault = this.#addHeaders(headers, metadata);
    this.#carrier.respond(fault === undefined ? headers : this.base());
    if (fault === undefined) return;
    this.onUnsendable(fault);
    if (this.#over) this.#status = fault;
    else {
      // The messages that wait belong to a response that the client will not have.
      this.#carrier.fail(fault);
      this.#finish(fault);
    }
  }

  /** Returns why the response headers of the handler cannot be sent, where they cannot. */
  #addHeaders(headers: OutgoingHttpHeaders, metadata: Headers): ConnectError | undefined {
    const wrong = addMetadata(headers, metadata);
    if (wrong !== undefined) {
      const what = `the handler's response headers cannot be sent: ${wrong}`;
      return failure(Code.Internal, what);
    }
    const bytes = headerListBytes(headers);
    const limitBytes = responseHeadersLimit(this.#carrier.announcedHeaderBytes);
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

  trailers(usedBytes: number): OutgoingHttpHeaders {
    const metadata = this.#context.setTrailers();
    if (this.#status === undefined && !hasMetadata(metadata)) return { "grpc-status": "0" };
    const limitBytes = trailersLimit(this.#carrier.announcedHeaderBytes);
    const { fields, fault } = fitTrailers(this.#status, metadata, { limitBytes, usedBytes });
    if (fault !== undefined) this.onUnsendable(fault);
    return fields;
  }

  onUnsendable(error: unknown): void {
    this.#options.onHandlerError(error, this.#path);
  }

  // What the inbox asks for.

  open(frame: Frame): MessageShape<I> | Promise<MessageShape<I>> {
    this.#carrier.taken(frame.end - frame.start);
    return this.#requests.open(frame);
  }

  keep(frame: Frame): Frame {
    return alone(frame);
  }

  onDry(): void {
    if (this.#spec.kind !== "bidi_streaming") return;
    // The client may wait for headers: at once where it has sent something, else soon.
    if (this.#begun) this.sendHeaders("when the handler waited for its second request");
    else if (!this.#carrier.headersSent) this.#options.firstRequests.add(this);
  }

  onRoom(): void {
    this.#carrier.readOn();
  }

  onRefuse(error: unknown): void {
    this.#finish(toWire(error));
  }

  // What the handler's responses are written to.

  write(response: MessageInitShape<O>): Promise<void> | undefined {
    // They leave with the batch that the response is in, and so that a handler can rely on it: not later.
    this.#context.closeHeaders("with the first response");
    return this.#responses.write(response);
  }

  end(): void {
    this.#finish(undefined);
  }

  async #run(): Promise<void> {
    try {
      const { interceptors } = this.#options;
      const outcome = await invoke(this.#spec, this.#context, this.#inbox, interceptors);
      if (this.#over) {
        if ("many" in outcome) leave(outcome.many[Symbol.asyncIterator](), this.#onLate);
      } else if ("many" in outcome) {
        this.#pump = pump(outcome.many, this, this.#onLate);
        await this.#pump.done;
      } else {
        await this.write(outcome.one);
        this.end();
      }
    } catch (error) {
      if (this.#over) {
        this.#onLate(error);
        return;
      }
      const sent = toWire(error);
      if (sent !== error) this.#options.onHandlerError(error, this.#path);
      this.#finish(sent);
    }
  }

  /** What a handler throws when its call is over: a bug, unless it passes on what it was told. */
  readonly #onLate = (error: unknown): void => {
    if (error instanceof ConnectError || error === this.#context.signal.reason) return;
    if (error instanceof Error && error.name === "AbortError") return;
    this.#options.onHandlerError(error, this.#path);
  };

  get #path(): string {
    const { parent, name } = this.#spec.method;
    return `/${parent.typeName}/${name}`;
  }

  /** A client that does not read would hold the stream for ever; it knows its deadline. */
  #expire(timeoutMs: number): void {
    const resetLater = () => this.#carrier.reset(constants.NGHTTP2_CANCEL);
    if (this.#over) {
      resetLater();
      return;
    }
    this.#finish(deadlineExceeded(timeoutMs));
    this.#deadline = startTimer(LAST_WORDS_MS, resetLater);
  }

  #finish(error: ConnectError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#status = error;
    // Metadata of the two kinds would become one in a response of trailers only.
    if (hasMetadata(this.#context.setHeaders())) this.sendHeaders("at the end of the call");
    this.#carrier.end(() => {
      const { "grpc-encoding": _none, ...headers } = this.base();
      return headers;
    });
    this.#release(error ?? OVER);
  }

  base(): OutgoingHttpHeaders {
    const headers: OutgoingHttpHeaders = {
      ":status": 200,
      "content-type": this.#contentType,
      "grpc-accept-encoding": ENCODING,
    };
    if (this.#gzip) headers["grpc-encoding"] = ENCODING;
    return headers;
  }

  /** Lets go of the handler: its signal aborts, its requests and responses end. */
  #release(error: ConnectError): void {
    this.#carrier.stopReading();
    this.#context.abort(error);
    this.#carrier.fail(error);
    this.#requests.drop(error);
    this.#inbox.fail(error);
    this.#pump?.stop();
  }
}

function readTimeout(
  incoming: IncomingHttpHeaders,
  maxTimeoutMs: number,
): number | undefined | ConnectError {
  const header = incoming["grpc-timeout"];
  if (header === undefined) return undefined;
  try {
    const timeoutMs = parseTimeout(String(header));
    if (timeoutMs <= maxTimeoutMs) return timeoutMs;
    return failure(
      Code.InvalidArgument,
      `a timeout of ${timeoutMs} ms is over maxTimeoutMs ${maxTimeoutMs}: ask for less`,
    );
  } catch (error) {
    return toWire(error);
  }
}

function compresses(
  incoming: IncomingHttpHeaders,
  sendCompression: ServerCallOptions["sendCompression"],
): boolean {
  if (sendCompression === "identity") return false;
  if (sendCompression === undefined && incoming["grpc-encoding"] !== ENCODING) return false;
  return String(incoming["grpc-accept-encoding"] ?? "")
    .split(",")
    .some((encoding) => encoding.trim() === ENCODING);
}

function unknownEncoding(encoding: string): ConnectError {
  return failure(
    Code.Unimplemented,
    `grpc-encoding "${encoding}" is not supported: use ${ENCODING} or identity`,
  );
}
