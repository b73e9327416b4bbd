import { Code, ConnectError } from "@connectrpc/connect";
import {
  type ClientCallListener,
  type ClientCallStream,
  IN_NO_RUN,
  type SharedFrame,
} from "../call-stream.ts";
import { asFailure, ownCopy } from "../failure.ts";
import { onAbort } from "../flow/wait.ts";
import { notAllowed } from "../grpc/metadata.ts";
import type { BegunCall, ClientAttachment, SentMessages } from "../session/attachment.ts";
import type { Connection, ConnectionSource, StreamRepeater } from "./connection.ts";
import type { RequestHeaders } from "./request-headers.ts";

/** The most bytes of a call that are kept for another attempt, until the server answers. */
const REPLAY_BYTES = 64 * 1024;

/** The approximate cost of a message that is kept, beside its bytes. */
const ENTRY_BYTES = 64;

/** The most further attempts of a call that the server certainly never processed (gRPC A6, transparent retry). */
const TRANSPARENT_RETRIES = 3;

/** A message that another attempt sends again. */
interface Sent {
  readonly flags: number;
  readonly payload: Uint8Array;
}

export interface AttemptsInit {
  readonly addresses: ConnectionSource;
  readonly headers: RequestHeaders;
  readonly readMaxBytes: number;
  readonly watcher?: { onResent?(error: ConnectError): void } | undefined;
}

/**
 * The stream of a call without a session, to which the call writes until the
 * response headers arrive. If the server certainly never processed the call, it
 * is sent again on another connection. The call listens to the HTTP/2 stream
 * itself, and after the response headers writes to it too.
 */
export class Attempts implements ClientCallStream, StreamRepeater {
  readonly #init: AttemptsInit;
  readonly #call: ClientCallListener;
  #stream: ClientAttachment | undefined;
  #reattached: PromiseWithResolvers<void> | undefined;
  #halfClosed = false;
  /** What the call had sent before: it stands before `#sent`. */
  #before: SentMessages | undefined;
  #sent: Sent[] | undefined = [];
  #sentBytes = 0;
  #attempts = 0;
  #opened = false;
  /** The reason of reset(): the call has ended. */
  #reason: ConnectError | undefined;

  /** @param begun given if the call is open, and has sent messages in a session that did not begin */
  constructor(init: AttemptsInit, call: ClientCallListener, begun?: BegunCall) {
    this.#init = init;
    this.#call = call;
    if (begun === undefined) return;
    const { sent, hasHalfClosed } = begun;
    this.#opened = true;
    this.#halfClosed = hasHalfClosed;
    this.#before = sent;
    this.#sentBytes = sent.bytes + sent.messages * ENTRY_BYTES;
  }

  /** Makes the first attempt, as soon as there is a connection. */
  start(): void {
    this.#attempt();
  }

  write(flags: number, payload: Uint8Array, shared?: SharedFrame): Promise<void> | undefined {
    if (this.#reason !== undefined) throw this.#reason;
    const isKept = this.#sent !== undefined;
    const own = isKept && shared === undefined ? new Uint8Array(payload) : payload;
    this.#keep({ flags, payload: own });
    this.#sentBytes += payload.length + ENTRY_BYTES;
    if (this.#stream !== undefined) {
      this.#forget();
      return this.#stream.write(flags, own, shared ?? (isKept ? IN_NO_RUN : undefined));
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

  hold(bytes: number): void {
    this.#stream?.hold(bytes);
  }

  reset(reason: ConnectError): void {
    this.#reason ??= reason;
    this.#stream?.reset(reason);
    this.#reattached?.reject(reason);
  }

  onUnprocessed(error: ConnectError): boolean {
    if (this.#sent === undefined || this.#attempts > TRANSPARENT_RETRIES) return false;
    // CANCELED: the transport was closed.
    if (error.code === Code.Canceled) return false;
    this.#stream?.release();
    this.#stream = undefined;
    this.#init.watcher?.onResent?.(error);
    this.#attempt();
    return true;
  }

  #keep(message: Sent): void {
    // Most calls send one message. push() would take space for many.
    if (this.#sent?.length === 0) this.#sent = [message];
    else this.#sent?.push(message);
  }

  get #isOver(): boolean {
    return this.#reason !== undefined;
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
      if (!this.#isOver) this.#use(connection);
    };
    const wanted = () => !this.#isOver;
    addresses.acquire(use, wanted).catch((error) => this.#fail(asFailure(error)));
  }

  /** Opens the stream. If a function among the headers must run first, a connection is chosen again after it. */
  #use(connection: Connection): void {
    const { addresses, headers } = this.#init;
    const renewal = headers.renew();
    if (renewal === undefined) this.#open(connection);
    else {
      const closing = onAbort(addresses.closing, (reason) =>
        this.#fail(ownCopy(asFailure(reason))),
      );
      renewal
        .finally(() => closing[Symbol.dispose]())
        .then(
          () => this.#isOver || this.#dial(),
          (error) => this.#fail(asFailure(error)),
        );
    }
  }

  #open(connection: Connection): void {
    const { headers, readMaxBytes } = this.#init;
    try {
      this.#stream = connection.open({
        head: headers.make(),
        readMaxBytes,
        listener: this.#call,
        repeater: this,
      });
    } catch (error) {
      // The headers are too large or not valid; or the connection was lost between ready() and here.
      if (error instanceof ConnectError) this.#fail(error);
      else if (!connection.isUsable) this.#attempt();
      else this.#fail(invalidHeaders(error));
      return;
    }
    this.#before?.rewind(0);
    if (this.#before !== undefined) this.#stream.pull(this.#before);
    for (const { flags, payload } of this.#sent ?? [])
      this.#stream.write(flags, payload, IN_NO_RUN);
    this.#forget();
    if (this.#halfClosed) this.#stream.endSend();
    this.#reattached?.resolve();
    this.#reattached = undefined;
    if (this.#opened) return;
    this.#opened = true;
    this.#call.onOpen();
  }

  #fail(error: ConnectError): void {
    if (!this.#isOver) this.#call.onFailed(error);
  }

  /** Drops what was sent if it is over REPLAY_BYTES: then there is no further attempt. */
  #forget(): void {
    if (this.#sentBytes > REPLAY_BYTES) this.#sent = this.#before = undefined;
  }
}

/** The error of a call with headers that HTTP/2 does not allow. */
export function invalidHeaders(error: unknown): ConnectError {
  return notAllowed(error instanceof Error ? error.message : String(error), error);
}
