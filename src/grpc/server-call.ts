import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, type MethodImplSpec } from "@connectrpc/connect";
import { deadlineExceeded, failure, toWire } from "../failure.ts";
import { after, Inbox, leave, type Pump, pump } from "../flow.ts";
import { ENCODING, isSupported } from "./compression.ts";
import { type CallContext, createContext } from "./context.ts";
import { alone, type Frame, FrameReader } from "./framing.ts";
import { invoke } from "./invoke.ts";
import { INBOX_BYTES, type Limits } from "./limits.ts";
import { MessageReader, MessageWriter } from "./message.ts";
import { addHeaders } from "./metadata.ts";
import { Outbox } from "./outbox.ts";
import { receive } from "./receive.ts";
import { free, reset } from "./reset.ts";
import { statusTrailers } from "./status.ts";
import { parseTimeout } from "./timeout.ts";

/** What all calls of a server share. */
export interface ServerCallOptions extends Limits {
  readonly interceptors: Interceptor[];
  /** "gzip" for all clients that accept it, "identity" for none, `undefined`: for those that send gzip. */
  readonly sendCompression: "gzip" | "identity" | undefined;
  /** Smaller responses are never compressed. */
  readonly compressMinBytes: number;
  /** A client may not ask for a longer deadline. */
  readonly maxTimeoutMs: number;
  /** Told of what a handler threw that is not a ConnectError: a bug. */
  readonly onHandlerError: (error: unknown, path: string) => void;
}

/** Why a handler's signal aborts when its call is over. */
const OVER = failure(Code.Canceled, "the call is over");

/** How long the status of an expired call may take to leave. */
const LAST_WORDS_MS = 1000;

/**
 * One gRPC call on the server: an HTTP/2 stream on one side, a handler on the
 * other. Every kind is bidirectional here. The call ends once, by the first of:
 * the handler's end, the deadline, a protocol error, the client's cancel, the
 * loss of the connection, the server's shutdown.
 */
export class ServerCall<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly #stream: ServerHttp2Stream;
  readonly #incoming: IncomingHttpHeaders;
  readonly #spec: MethodImplSpec<I, O>;
  readonly #options: ServerCallOptions;
  readonly #context: CallContext;
  readonly #outbox: Outbox;
  readonly #inbox: Inbox<Frame, MessageShape<I>>;
  readonly #readOn: () => void;
  readonly #compressFromBytes: number | undefined;
  #deadline: Disposable | undefined;
  #pump: Pump | undefined;
  #refused: ConnectError | undefined;
  #status: ConnectError | undefined;
  #received = false;
  #over = false;

  constructor(
    stream: ServerHttp2Stream,
    incoming: IncomingHttpHeaders,
    spec: MethodImplSpec<I, O>,
    options: ServerCallOptions,
  ) {
    this.#stream = stream;
    this.#incoming = incoming;
    this.#spec = spec;
    this.#options = options;
    const timeout = readTimeout(incoming, options.maxTimeoutMs);
    const timeoutMs = timeout instanceof ConnectError ? undefined : timeout;
    this.#context = createContext(spec.method, incoming, timeoutMs, () => this.#sendHeaders());
    const encoding = incoming["grpc-encoding"] as string | undefined;
    this.#compressFromBytes = compresses(incoming, options.sendCompression)
      ? options.compressMinBytes
      : undefined;
    const messages = new MessageReader(spec.method.input, options, encoding);
    this.#inbox = new Inbox(INBOX_BYTES, {
      open: (frame) => messages.open(frame),
      onDry: () => {
        // The handler waits for a request after it has had one: the client may wait for headers.
        if (this.#received && spec.kind === "bidi_streaming") this.#sendHeaders();
      },
      keep: alone,
      onRoom: () => this.#readOn(),
      onRefuse: (error) => this.#finish(toWire(error)),
    });
    this.#outbox = new Outbox(stream, () => this.#sendHeaders());
    this.#readOn = this.#listen(messages);
    if (timeoutMs !== undefined) {
      this.#deadline = after(timeoutMs, () => this.#expire(timeoutMs));
    }
    if (timeout instanceof ConnectError) this.#refused = timeout;
    else if (!isSupported(encoding)) this.#refused = unknownEncoding(String(encoding));
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

  /** Listens to the stream; returns how to read on after a full inbox. */
  #listen(messages: MessageReader<I>): () => void {
    const stream = this.#stream;
    let room = true;
    const reader = new FrameReader(this.#options.readMaxBytes, (frame) => {
      messages.check(frame);
      this.#received = true;
      room = this.#inbox.put(frame, frame.end - frame.start);
    });
    const readOn = receive(stream, (chunk) => {
      if (this.#over) return true;
      try {
        reader.push(chunk);
      } catch (error) {
        this.#finish(toWire(error));
      }
      return room;
    });
    stream.on("end", () => {
      // 'end' also comes after a reset; only without one is it the client's half-close.
      if (this.#over || stream.aborted || stream.closed) return;
      if (!reader.partial) this.#inbox.close();
      else this.#finish(failure(Code.Internal, "protocol error: the last message was cut off"));
    });
    stream.on("aborted", () => this.#lost());
    stream.on("close", () => {
      this.#deadline?.[Symbol.dispose]();
      this.#lost();
    });
    stream.on("frameError", (_type, code) =>
      this.#options.onHandlerError(
        new Error(`its headers or trailers are more than HTTP/2 carries (error ${code})`),
        this.path,
      ),
    );
    stream.on("error", () => this.#lost());
    stream.on("wantTrailers", () => this.#sendTrailers());
    return () => {
      room = true;
      readOn();
    };
  }

  async #run(): Promise<void> {
    const writer = new MessageWriter(
      this.#spec.method.output,
      this.#options,
      { fromBytes: this.#compressFromBytes },
      this.#outboxSink,
    );
    try {
      const { interceptors } = this.#options;
      const outcome = await invoke(this.#spec, this.#context, this.#inbox, interceptors);
      if (this.#over) {
        if ("many" in outcome) leave(outcome.many[Symbol.asyncIterator](), this.#onLate);
      } else if ("many" in outcome) {
        this.#pump = pump(outcome.many, writer, this.#onLate);
        await this.#pump.done;
      } else {
        await writer.write(outcome.one);
        writer.end();
      }
    } catch (error) {
      if (this.#over) {
        this.#onLate(error);
        return;
      }
      const sent = toWire(error);
      if (sent !== error) this.#options.onHandlerError(error, this.path);
      this.#finish(sent);
    }
  }

  /** What a handler throws when its call is over: a bug, unless it passes on what it was told. */
  readonly #onLate = (error: unknown): void => {
    if (error instanceof ConnectError || error === this.#context.signal.reason) return;
    if (error instanceof Error && error.name === "AbortError") return;
    this.#options.onHandlerError(error, this.path);
  };

  get path(): string {
    return String(this.#incoming[":path"]);
  }

  get #outboxSink() {
    return {
      write: (flags: number, payload: Uint8Array) => this.#outbox.write(flags, payload),
      end: () => this.#finish(undefined),
    };
  }

  /** A client that does not read would hold the stream for ever; it knows its deadline. */
  #expire(timeoutMs: number): void {
    const stream = this.#stream;
    if (this.#over) {
      reset(stream, constants.NGHTTP2_CANCEL);
      return;
    }
    this.#finish(deadlineExceeded(timeoutMs));
    this.#deadline = after(LAST_WORDS_MS, () => reset(stream, constants.NGHTTP2_CANCEL));
  }

  #finish(error: ConnectError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#status = error;
    const stream = this.#stream;
    if (!stream.destroyed && !stream.closed) {
      this.#respond();
    }
    this.#release(error ?? OVER);
  }

  /** Writes the end: what waits, then trailers; or, where nothing was sent yet, headers that hold the status. */
  #respond(): void {
    const stream = this.#stream;
    this.#outbox.flush();
    // Metadata of the two kinds would become one in a response of trailers only.
    if (this.#context.setHeaders()?.entries().next().done === false) this.#sendHeaders();
    if (stream.headersSent) {
      stream.end();
      return;
    }
    const headers = this.#headers();
    delete headers["grpc-encoding"];
    this.#guard(() => stream.respond({ ...headers, ...this.#trailers() }, { endStream: true }));
    free(this.#stream);
  }

  #headers(): OutgoingHttpHeaders {
    const contentType = this.#incoming["content-type"] as string;
    const headers: OutgoingHttpHeaders = {
      ":status": 200,
      "content-type": contentType,
      "grpc-accept-encoding": ENCODING,
    };
    if (this.#compressFromBytes !== undefined) headers["grpc-encoding"] = ENCODING;
    return headers;
  }

  #trailers(): OutgoingHttpHeaders {
    return statusTrailers(this.#status, this.#context.setTrailers());
  }

  #sendHeaders(): void {
    const stream = this.#stream;
    if (stream.headersSent || stream.destroyed || stream.closed) return;
    const headers = this.#headers();
    addHeaders(headers, this.#context.setHeaders());
    this.#guard(() => stream.respond(headers, { waitForTrailers: true }));
  }

  #sendTrailers(): void {
    this.#guard(() => this.#stream.sendTrailers(this.#trailers()));
    free(this.#stream);
  }

  /** Metadata that node:http2 refuses must not end the process, and the client must not wait for ever. */
  #guard(send: () => void): void {
    try {
      send();
    } catch (error) {
      this.#options.onHandlerError(error, this.path);
      reset(this.#stream, constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  /** The client cancelled, or the connection is gone. */
  #lost(): void {
    if (this.#over) return;
    this.#over = true;
    const session = this.#stream.session;
    const gone = session === undefined || session.destroyed || session.socket.destroyed;
    this.#release(
      failure(
        Code.Canceled,
        gone ? "the connection to the client was lost" : "the client cancelled the call",
      ),
    );
  }

  /** Lets go of the handler: its signal aborts, its requests and responses end. */
  #release(error: ConnectError): void {
    this.#context.abort(error);
    this.#outbox.fail(error);
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
