import {
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { asFailure, deadlineExceeded, failure, fromAbort, handled } from "../failure.ts";
import { after, Inbox, onAbort, type Pump, pump, Queue } from "../flow.ts";
import type { Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { alone, type Frame, FrameReader } from "./framing.ts";
import { INBOX_BYTES, type Limits } from "./limits.ts";
import { MessageReader, MessageWriter } from "./message.ts";
import { toHeaders } from "./metadata.ts";
import { Outbox } from "./outbox.ts";
import { receive } from "./receive.ts";
import { readReset, reset } from "./reset.ts";
import { checkResponse } from "./response.ts";
import { readStatus } from "./status.ts";
import { formatTimeout } from "./timeout.ts";

/** When a call must be over, whatever the number of its attempts. */
export interface Deadline {
  readonly timeoutMs: number;
  readonly endsAt: number;
}

/** What a call is made of. */
export interface ClientCallInit<I extends DescMessage, O extends DescMessage> extends Limits {
  readonly connections: Connections;
  readonly input: I;
  readonly output: O;
  /** All request headers but grpc-timeout. */
  readonly headers: OutgoingHttpHeaders;
  /** `timeoutMs` as the caller asked for it, and the end of it by performance.now(). */
  readonly deadline: Deadline | undefined;
  readonly signal: AbortSignal | undefined;
  /** Requests from this size on are compressed; `undefined`: none. */
  readonly compressFromBytes: number | undefined;
  readonly requests: AsyncIterable<MessageInitShape<I>>;
}

/** How much of what was sent is kept for another attempt, until the server answers. */
const REPLAY_BYTES = 64 * 1024;

/** How often a call that the server certainly never processed is tried again (gRPC A6, transparent retry). */
const TRANSPARENT_RETRIES = 3;

interface Sent {
  flags: number;
  payload: Uint8Array;
}

/**
 * One gRPC call of a client, of any kind. It ends once, by the first of: the
 * server's status, the caller's cancel, the deadline, a protocol error, the
 * loss of the connection. Until the server has answered, a call that it never
 * processed is tried again on another connection, with all that was sent.
 */
export class ClientCall<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  /** Resolves when the response headers are here; rejects where the call ends without. */
  readonly answered: Promise<void>;
  /** The responses: ends at the status OK, throws at any other end. */
  readonly responses: Inbox<Frame, MessageShape<O>>;
  readonly #init: ClientCallInit<I, O>;
  readonly #answer = Promise.withResolvers<void>();
  #deadline: Disposable | undefined;
  #abort: Disposable | undefined;
  #stream: ClientHttp2Stream | undefined;
  #outbox: Outbox | undefined;
  #reattached: PromiseWithResolvers<void> | undefined;
  #pump: Pump | undefined;
  #readOn: (() => void) | undefined;
  #started = false;
  #halfClosed = false;
  #sent: Sent[] | undefined = [];
  #sentBytes = 0;
  #attempts = 0;
  #messages: MessageReader<O> | undefined;
  #head: IncomingHttpHeaders | undefined;
  #tail: IncomingHttpHeaders | undefined;
  #header: Headers | undefined;
  #trailer: Headers | undefined;
  #status: "ok" | ConnectError | undefined;
  #over = false;

  constructor(init: ClientCallInit<I, O>) {
    this.#init = init;
    this.answered = handled(this.#answer.promise);
    this.responses = new Inbox<Frame, MessageShape<O>>(INBOX_BYTES, {
      open: (frame) => (this.#messages as MessageReader<O>).open(frame),
      keep: alone,
      onRoom: () => this.#readOn?.(),
      onLeave: () => this.#finish(failure(Code.Canceled, "the caller left the call"), true),
      onRefuse: (error) => this.#finish(asFailure(error), true),
    });
    const { deadline, signal } = init;
    if (deadline !== undefined) {
      this.#deadline = after(deadline.endsAt - performance.now(), () =>
        this.#finish(deadlineExceeded(deadline.timeoutMs), true),
      );
    }
    this.#abort = onAbort(signal, (reason) => this.#finish(fromAbort(reason), true));
    if (!this.#over) this.#attempt();
  }

  /** Whether a stream was opened: what failed before that never left here. */
  get reached(): boolean {
    return this.#stream !== undefined;
  }

  /** Whether the server began to answer: a response of trailers only is none. */
  get committed(): boolean {
    return this.#messages !== undefined;
  }

  /** The response headers; empty before they came. */
  get header(): Headers {
    this.#header ??= toHeaders(this.#head ?? {});
    return this.#header;
  }

  /** The trailers; filled at the end of the call. */
  get trailer(): Headers {
    this.#trailer ??= toHeaders(this.#tail ?? {});
    return this.#trailer;
  }

  #ended(trailers: IncomingHttpHeaders): void {
    this.#tail = trailers;
    if (this.#trailer === undefined) return;
    for (const [name, value] of toHeaders(trailers)) this.#trailer.append(name, value);
  }

  #attempt(): void {
    this.#attempts++;
    const { connections } = this.#init;
    const connection = connections.ready();
    if (connection !== undefined) {
      this.#open(connection);
      return;
    }
    const use = (connection: Connection) => {
      if (!this.#over) this.#open(connection);
    };
    connections.acquire(use).catch((error) => this.#finish(asFailure(error), true));
  }

  #open(connection: Connection): void {
    const headers = { ...this.#init.headers };
    const { deadline } = this.#init;
    if (deadline !== undefined) {
      headers["grpc-timeout"] = formatTimeout(Math.max(deadline.endsAt - performance.now(), 0.001));
    }
    let stream: ClientHttp2Stream;
    try {
      stream = connection.request(headers);
    } catch (error) {
      // Either the connection went away between the look and the use, or the headers are no headers.
      if (!connection.usable) this.#attempt();
      else this.#finish(invalidHeaders(error), true);
      return;
    }
    this.#stream = stream;
    this.#outbox = new Outbox(stream);
    this.#listen(stream, connection);
    for (const { flags, payload } of this.#sent ?? []) this.#outbox.write(flags, payload);
    this.#forget();
    if (this.#halfClosed) this.#outbox.end();
    this.#reattached?.resolve();
    this.#reattached = undefined;
    if (!this.#started) this.#start();
  }

  /** Begins to take requests: once, whatever the number of attempts. */
  #start(): void {
    this.#started = true;
    const { input, requests, compressFromBytes } = this.#init;
    const writer = new MessageWriter(
      input,
      this.#init,
      { fromBytes: compressFromBytes },
      {
        write: (flags, payload) => this.#send(flags, payload),
        end: () => {
          this.#halfClosed = true;
          this.#outbox?.end();
        },
      },
    );
    const refusing = {
      write: (message: MessageInitShape<I>) => {
        try {
          return writer.write(message)?.catch((error) => this.#refuse(error));
        } catch (error) {
          return this.#refuse(error);
        }
      },
      end: () => writer.end(),
    };
    if (requests instanceof Queue) {
      requests.pipeTo(refusing);
      return;
    }
    this.#pump = pump(requests, refusing);
    this.#pump.done.catch((error) => this.#finish(asFailure(error), true));
  }

  /** A request that cannot be sent ends its call, and fails its send(). */
  #refuse(error: unknown): never {
    const refusal =
      error instanceof TypeError ? failure(Code.Internal, error.message, error) : asFailure(error);
    this.#finish(refusal, true);
    throw refusal;
  }

  #send(flags: number, payload: Uint8Array): Promise<void> | undefined {
    this.#sent?.push({ flags, payload });
    // 64 B stand for what an entry costs beside its bytes.
    this.#sentBytes += payload.length + 64;
    if (this.#outbox !== undefined) {
      this.#forget();
      return this.#outbox.write(flags, payload);
    }
    this.#reattached ??= Promise.withResolvers();
    return this.#reattached.promise;
  }

  /** Past the bound nothing is kept for another attempt; what has not been written yet is. */
  #forget(): void {
    if (this.#sentBytes > REPLAY_BYTES) this.#sent = undefined;
  }

  #listen(stream: ClientHttp2Stream, connection: Connection): void {
    const current = () => this.#stream === stream && !this.#over;
    let room = true;
    const reader = new FrameReader(this.#init.readMaxBytes, (frame) => {
      this.#messages?.check(frame);
      room = this.responses.put(frame, frame.end - frame.start);
    });
    const readOn = receive(stream, (chunk) => {
      if (!current()) return true;
      try {
        reader.push(chunk);
      } catch (error) {
        this.#finish(asFailure(error), false);
      }
      return room;
    });
    this.#readOn = () => {
      room = true;
      readOn();
    };
    stream.on("response", (headers, flags) => {
      if (current()) this.#answered(headers, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0);
    });
    stream.on("trailers", (trailers) => {
      if (!current()) return;
      this.#ended(trailers);
      this.#status ??= this.#readStatus(trailers);
    });
    stream.on("end", () => {
      // 'end' also comes after a reset: then 'close' knows more.
      if (!current() || (this.#status === undefined && stream.closed)) return;
      this.#finish(this.#outcome(reader.partial, connection), false);
    });
    stream.on("error", () => {});
    stream.on("close", () => {
      if (current()) this.#closed(stream, connection, reader.partial);
    });
  }

  #answered(headers: IncomingHttpHeaders & IncomingHttpStatusHeader, ended: boolean): void {
    this.#head = headers;
    this.#sent = undefined;
    const refusal = checkResponse(headers, ended, this.#init.connections.target.name);
    if (refusal !== undefined) {
      this.#finish(refusal, false);
      return;
    }
    this.#messages = new MessageReader(
      this.#init.output,
      this.#init,
      headers["grpc-encoding"] as string | undefined,
    );
    if (ended) {
      this.#ended(headers);
      this.#status = "ok";
    }
    this.#answer.resolve();
  }

  /** The status of the trailers; an error brings the response headers along, as Connect's errors do. */
  #readStatus(trailers: IncomingHttpHeaders): "ok" | ConnectError | undefined {
    const status = readStatus(trailers);
    if (status instanceof ConnectError) {
      for (const [name, value] of this.header) status.metadata.append(name, value);
    }
    return status;
  }

  /** What the end of the stream means, now that all is read. */
  #outcome(cutOff: boolean, { target }: Connection): ConnectError | undefined {
    if (this.#status === undefined) {
      return failure(Code.Internal, `${target.name} ended the call without a gRPC status`);
    }
    if (this.#status !== "ok") return this.#status;
    return cutOff
      ? failure(Code.Internal, "protocol error: the last message was cut off")
      : undefined;
  }

  /** The stream is gone, before its end was read or without one. */
  #closed(stream: ClientHttp2Stream, connection: Connection, cutOff: boolean): void {
    if (this.#status !== undefined) {
      this.#finish(this.#outcome(cutOff, connection), false);
      return;
    }
    const { deadline } = this.#init;
    if (
      stream.rstCode === constants.NGHTTP2_CANCEL &&
      deadline !== undefined &&
      performance.now() >= deadline.endsAt
    ) {
      // The server keeps the deadline too, and its timer was faster.
      this.#finish(deadlineExceeded(deadline.timeoutMs), false);
      return;
    }
    const cause = readReset(stream.rstCode ?? 0, connection.target.name);
    const unprocessed = connection.neverProcessed(stream) || cause.refused;
    if (
      unprocessed &&
      this.#sent !== undefined &&
      this.#attempts <= TRANSPARENT_RETRIES &&
      connection.lost?.code !== Code.Canceled
    ) {
      this.#outbox?.release();
      this.#outbox = undefined;
      this.#attempt();
      return;
    }
    this.#finish(connection.lost ?? cause.error, false);
  }

  /** @param drop whether responses that wait for the caller are dropped */
  #finish(error: ConnectError | undefined, drop: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.[Symbol.dispose]();
    this.#abort?.[Symbol.dispose]();
    if (error !== undefined) this.#answer.reject(error);
    if (drop) this.responses.fail(error);
    else this.responses.close(error);
    const stopped =
      error ??
      failure(Code.FailedPrecondition, "the server has ended the call: nothing is sent any more");
    this.#outbox?.fail(stopped);
    this.#reattached?.reject(stopped);
    this.#pump?.stop();
    if (this.#init.requests instanceof Queue) this.#init.requests.fail(stopped);
    const stream = this.#stream;
    if (stream === undefined || stream.closed) return;
    // The server's status may have come before the client's half-close; the stream is freed all the same.
    if (this.#status === undefined) reset(stream, constants.NGHTTP2_CANCEL);
    else if (!stream.writableEnded) reset(stream, constants.NGHTTP2_NO_ERROR);
  }
}

function invalidHeaders(error: unknown): ConnectError {
  return failure(
    Code.InvalidArgument,
    `the call's headers cannot be sent: ${error instanceof Error ? error.message : error}`,
    error,
  );
}
