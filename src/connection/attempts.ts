import { constants, type IncomingHttpHeaders } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { asFailure } from "../failure.ts";
import { onAbort } from "../flow/wait.ts";
import type { Frame } from "../grpc/framing.ts";
import { notAllowed } from "../grpc/metadata.ts";
import type { RequestHeaders } from "../grpc/request-headers.ts";
import { type Broken, ClientStream, type ClientStreamOwner } from "../node/http2/client-stream.ts";
import type { Connection, ConnectionSource } from "../node/http2/connection.ts";

/** What carries a call: one stream after another. */
export interface Carrier {
  /** Takes a message. `undefined`: there is room for the next. A promise: there will be when it resolves. */
  write(flags: number, payload: Uint8Array): Promise<void> | undefined;
  /** No more messages follow. */
  halfClose(): void;
  /** Reads on after onFrame() said `false`. */
  readOn(): void;
  /** The caller took a message. */
  taken(bytes: number): void;
  /** The call is over; where the server has not ended it, it is told. Waiting and later writes fail with `error`. */
  stop(error: ConnectError): void;
}

/** The call that is carried. */
export interface Carried {
  /** Whether the call has ended: nothing needs to carry it any more. */
  readonly over: boolean;
  /** What carries the call from now on. */
  onCarrier(carrier: Carrier): void;
  /** The first stream is open: requests may leave. */
  onOpen(): void;
  /** The response headers came, and more will. */
  onHead(headers: IncomingHttpHeaders): void;
  /** As in ClientStreamOwner. */
  onFrame(frame: Frame): boolean;
  /** The server ended the call, and all before it was read. */
  onStatus(status: "ok" | ConnectError, trailers: IncomingHttpHeaders): void;
  /** The call cannot be carried on. */
  onFailed(error: ConnectError): void;
  /** The server reset the stream as one whose call was cancelled. */
  onCancelled(error: ConnectError): void;
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
 * Carries a call over one stream. Until the server has answered, a call that
 * it never processed is tried again on another connection, with all that was
 * sent.
 */
export class Attempts implements Carrier, ClientStreamOwner {
  readonly #connections: ConnectionSource;
  readonly #headers: RequestHeaders;
  readonly #readMaxBytes: number;
  readonly #call: Carried;
  #stream: ClientStream | undefined;
  #reattached: PromiseWithResolvers<void> | undefined;
  #halfClosed = false;
  #sent: Sent[] | undefined = [];
  #sentBytes = 0;
  #attempts = 0;
  #opened = false;
  #over = false;

  constructor(
    connections: ConnectionSource,
    headers: RequestHeaders,
    readMaxBytes: number,
    call: Carried,
  ) {
    this.#connections = connections;
    this.#headers = headers;
    this.#readMaxBytes = readMaxBytes;
    this.#call = call;
  }

  /** Makes the first attempt, on a connection that is ready or as soon as there is one. */
  start(): void {
    this.#call.onCarrier(this);
    this.#attempt();
  }

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    this.#sent?.push({ flags, payload });
    // 64 B stand for what an entry costs beside its bytes.
    this.#sentBytes += payload.length + 64;
    if (this.#stream !== undefined) {
      this.#forget();
      return this.#stream.write(flags, payload);
    }
    this.#reattached ??= Promise.withResolvers();
    return this.#reattached.promise;
  }

  halfClose(): void {
    this.#halfClosed = true;
    this.#stream?.halfClose();
  }

  readOn(): void {
    this.#stream?.readOn();
  }

  taken(): void {}

  stop(error: ConnectError): void {
    this.#over = true;
    this.#stream?.stop(error);
    this.#reattached?.reject(error);
  }

  onHead(headers: IncomingHttpHeaders): void {
    this.#sent = undefined;
    this.#call.onHead(headers);
  }

  onFrame(frame: Frame): boolean {
    return this.#call.onFrame(frame);
  }

  onStatus(status: "ok" | ConnectError, trailers: IncomingHttpHeaders): void {
    this.#call.onStatus(status, trailers);
  }

  onBroken({ error, unprocessed, rstCode }: Broken): void {
    if (
      unprocessed &&
      this.#sent !== undefined &&
      this.#attempts <= TRANSPARENT_RETRIES &&
      error.code !== Code.Canceled
    ) {
      this.#stream?.release();
      this.#stream = undefined;
      this.#attempt();
    } else if (rstCode === constants.NGHTTP2_CANCEL) this.#call.onCancelled(error);
    else this.#fail(error);
  }

  #attempt(): void {
    this.#attempts++;
    this.#dial();
  }

  #dial(): void {
    const connection = this.#connections.ready();
    if (connection !== undefined) {
      this.#use(connection);
      return;
    }
    const use = (connection: Connection) => {
      if (!this.#over) this.#use(connection);
    };
    const wanted = () => !this.#over;
    this.#connections.acquire(use, wanted).catch((error) => this.#fail(asFailure(error)));
  }

  /** Opens the stream, when the headers are there: by then it may have to be another connection. */
  #use(connection: Connection): void {
    const renewal = this.#headers.renew();
    if (renewal === undefined) this.#open(connection);
    else {
      const closing = onAbort(this.#connections.closing, (reason) => this.#fail(asFailure(reason)));
      renewal
        .finally(() => closing[Symbol.dispose]())
        .then(
          () => this.#over || this.#dial(),
          (error) => this.#fail(asFailure(error)),
        );
    }
  }

  #open(connection: Connection): void {
    try {
      this.#stream = new ClientStream(connection, this.#headers.make(), this.#readMaxBytes, this);
    } catch (error) {
      // The headers are too large or no headers, or the connection went away between the look and the use.
      if (error instanceof ConnectError) this.#fail(error);
      else if (!connection.usable) this.#attempt();
      else this.#fail(invalidHeaders(error));
      return;
    }
    for (const { flags, payload } of this.#sent ?? []) this.#stream.write(flags, payload);
    this.#forget();
    if (this.#halfClosed) this.#stream.halfClose();
    this.#reattached?.resolve();
    this.#reattached = undefined;
    if (this.#opened) return;
    this.#opened = true;
    this.#call.onOpen();
  }

  #fail(error: ConnectError): void {
    if (!this.#over) this.#call.onFailed(error);
  }

  /** Past the bound nothing is kept for another attempt; what has not been written yet is. */
  #forget(): void {
    if (this.#sentBytes > REPLAY_BYTES) this.#sent = undefined;
  }
}

/** What node:http2 says of headers that it refuses, as an error of the call. */
export function invalidHeaders(error: unknown): ConnectError {
  return notAllowed(error instanceof Error ? error.message : String(error), error);
}
