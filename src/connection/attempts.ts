import { Code, ConnectError } from "@connectrpc/connect";
import type {
  ClientCallListener,
  ClientCallStream,
  ClientStreamListener,
  HeaderList,
  Outcome,
  Received,
} from "../call-stream.ts";
import { asFailure } from "../failure.ts";
import { onAbort } from "../flow/wait.ts";
import { notAllowed } from "../grpc/metadata.ts";
import type { RequestHeaders } from "../grpc/request-headers.ts";
import type { Connection, ConnectionSource, OpenedStream } from "./connection.ts";

/** How much of what was sent is kept for another attempt, until the server answers. */
const REPLAY_BYTES = 64 * 1024;

/** How often a call that the server certainly never processed is tried again (gRPC A6, transparent retry). */
const TRANSPARENT_RETRIES = 3;

interface Sent {
  flags: number;
  payload: Uint8Array;
}

export interface AttemptsInit {
  readonly addresses: ConnectionSource;
  readonly headers: RequestHeaders;
  readonly readMaxBytes: number;
}

/**
 * The stream of a call without a session. Until the server has answered, a call
 * that it never processed is tried again on another connection, with all that
 * was sent. With the response headers the call takes over the HTTP/2 stream,
 * and this is on no message's way any more.
 */
export class Attempts implements ClientCallStream, ClientStreamListener {
  readonly #init: AttemptsInit;
  readonly #call: ClientCallListener;
  #stream: OpenedStream | undefined;
  #reattached: PromiseWithResolvers<void> | undefined;
  #halfClosed = false;
  #sent: Sent[] | undefined = [];
  #sentBytes = 0;
  #attempts = 0;
  #opened = false;
  #over = false;

  constructor(init: AttemptsInit, call: ClientCallListener) {
    this.#init = init;
    this.#call = call;
  }

  /** Makes the first attempt, on a connection that is ready or as soon as there is one. */
  start(): void {
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

  endSend(): void {
    this.#halfClosed = true;
    this.#stream?.endSend();
  }

  taken(bytes: number): void {
    this.#stream?.taken(bytes);
  }

  reset(reason: ConnectError): void {
    this.#over = true;
    this.#stream?.reset(reason);
    this.#reattached?.reject(reason);
  }

  onHeaders(headers: HeaderList, from: OpenedStream): void {
    this.#sent = undefined;
    from.listener = this.#call;
    this.#call.onHeaders(headers, from);
  }

  onMessage(message: Received, from: ClientCallStream): void {
    this.#call.onMessage(message, from);
  }

  onInvalid(error: ConnectError): void {
    if (!this.#over) this.#call.onInvalid(error, this);
  }

  onClosed(outcome: Outcome): void {
    if (
      outcome.is === "lost" &&
      outcome.unprocessed &&
      this.#sent !== undefined &&
      this.#attempts <= TRANSPARENT_RETRIES &&
      outcome.error.code !== Code.Canceled
    ) {
      this.#stream?.release();
      this.#stream = undefined;
      this.#attempt();
    } else if (!this.#over) this.#call.onClosed(outcome, this);
  }

  #attempt(): void {
    this.#attempts++;
    this.#dial();
  }

  #dial(): void {
    const { addresses } = this.#init;
    const connection = addresses.ready();
    if (connection !== undefined) {
      this.#use(connection);
      return;
    }
    const use = (connection: Connection) => {
      if (!this.#over) this.#use(connection);
    };
    const wanted = () => !this.#over;
    addresses.acquire(use, wanted).catch((error) => this.#fail(asFailure(error)));
  }

  /** Opens the stream, when the headers are there: by then it may have to be another connection. */
  #use(connection: Connection): void {
    const { addresses, headers } = this.#init;
    const renewal = headers.renew();
    if (renewal === undefined) this.#open(connection);
    else {
      const closing = onAbort(addresses.closing, (reason) => this.#fail(asFailure(reason)));
      renewal
        .finally(() => closing[Symbol.dispose]())
        .then(
          () => this.#over || this.#dial(),
          (error) => this.#fail(asFailure(error)),
        );
    }
  }

  #open(connection: Connection): void {
    const { headers, readMaxBytes } = this.#init;
    try {
      this.#stream = connection.open({ head: headers.make(), readMaxBytes, listener: this });
    } catch (error) {
      // The headers are too large or no headers, or the connection went away between the look and the use.
      if (error instanceof ConnectError) this.#fail(error);
      else if (!connection.usable) this.#attempt();
      else this.#fail(invalidHeaders(error));
      return;
    }
    for (const { flags, payload } of this.#sent ?? []) this.#stream.write(flags, payload);
    this.#forget();
    if (this.#halfClosed) this.#stream.endSend();
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

/** What HTTP/2 says of headers that it refuses, as an error of the call. */
export function invalidHeaders(error: unknown): ConnectError {
  return notAllowed(error instanceof Error ? error.message : String(error), error);
}
