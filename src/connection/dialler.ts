import { ConnectError } from "@connectrpc/connect";
import type { ClientStreamListener, HeaderList } from "../call-stream.ts";
import { asFailure } from "../failure.ts";
import type {
  ClientAttachment,
  Dialler,
  OpenSession,
  SettingsWatcher,
  WaitingForConnection,
} from "../session/attachment.ts";
import { CONTROL_FRAMES } from "../session/control.ts";
import type { Addresses } from "./addresses.ts";
import { invalidHeaders } from "./attempts.ts";
import type { Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import type { NegotiateHeaders } from "./negotiate.ts";
import type { RequestHeaders } from "./request-headers.ts";

/**
 * The headers of an attachment must stay this far below the limit: in later
 * attachments the numbers may be longer, and a cancel has one more header.
 */
const RESERVE_BYTES = 64;

/** What all streams of a session share. */
export interface StreamDiallerInit {
  readonly addresses: Addresses;
  /** The connections to the address of the session's server. */
  readonly connections: Connections;
  /** The request headers of an attachment, without those of the session. */
  readonly headers: RequestHeaders;
  /** Makes the request headers of Negotiate, which belongs to no call. */
  readonly negotiateHeaders: NegotiateHeaders;
  readonly readMaxBytes: number;
}

/**
 * Opens the streams of a session: at any address of the transport until the session has begun, then only at its own.
 */
export class StreamDialler implements Dialler {
  readonly #addresses: Addresses;
  readonly #headers: RequestHeaders;
  readonly #negotiateHeaders: NegotiateHeaders;
  readonly #readMaxBytes: number;
  #connections: Connections;
  #bound = true;
  #session: OpenSession | undefined;

  constructor(init: StreamDiallerInit) {
    const { addresses, connections, headers, negotiateHeaders, readMaxBytes } = init;
    this.#addresses = addresses;
    this.#connections = connections;
    this.#headers = headers;
    this.#negotiateHeaders = negotiateHeaders;
    this.#readMaxBytes = readMaxBytes;
  }

  dial(session: WaitingForConnection): void {
    const failed = (reason: unknown) => session.onUnreachable(asFailure(reason));
    const use = (connection: Connection) => {
      if (!session.isWanted) return;
      const renewal = this.#headers.renew();
      if (renewal === undefined) this.#connect(connection, session);
      // Chooses again afterwards: this connection may be lost by then.
      else renewal.then(() => session.isWanted && this.dial(session), failed);
    };
    const source = this.#bound ? this.#connections : this.#addresses;
    const ready = source.ready();
    if (ready !== undefined) {
      use(ready);
      return;
    }
    if (this.#bound && this.#connections.isUsable) session.onReached();
    source.acquire(use, () => session.isWanted).catch(failed);
  }

  /** Has the session open its stream on this connection; if that has just been lost, on another. */
  #connect(connection: Connection, session: WaitingForConnection): void {
    let isOpened: boolean;
    try {
      isOpened = session.onConnection((headers, listener) => {
        return this.#open(connection, headers, listener);
      });
    } catch (error) {
      session.onUnreachable(asFailure(error));
      return;
    }
    if (!isOpened) this.dial(session);
  }

  unbind(): void {
    this.#bound = false;
  }

  renegotiate(sinceMs: number, watcher: SettingsWatcher): void {
    this.#connections.invalidateSettings(sinceMs);
    this.#connections.question.ask(this.#negotiateHeaders, {
      isWanted: () => watcher.isWanted,
      onAnswer({ sessionSettings, mustNegotiate }) {
        if (sessionSettings && !mustNegotiate) watcher.onSettings(sessionSettings);
        else watcher.onNoSettings();
      },
      onFailed: (error) => watcher.onNoSettings(error),
    });
  }

  sendCancel(headers: Record<string, string>, forMs: number): void {
    const own = this.#headers;
    this.#connections.cancels.send(
      { renew: () => own.renew(), make: () => own.make(headers) },
      forMs,
    );
  }

  freshHeaders(): Promise<HeaderList> | undefined {
    return this.#headers.fresh();
  }

  add(session: OpenSession): void {
    this.#session = session;
    this.#connections.addSession(session);
  }

  remove(session: OpenSession): void {
    this.#session = undefined;
    this.#connections.removeSession(session);
  }

  #bind(connections: Connections): void {
    this.#bound = true;
    if (this.#session !== undefined) {
      this.#connections.removeSession(this.#session);
      connections.addSession(this.#session);
    }
    this.#connections = connections;
    connections.useFastReconnect();
  }

  #open(
    connection: Connection,
    headers: Record<string, string>,
    listener: ClientStreamListener,
  ): ClientAttachment | undefined {
    let stream: ClientAttachment;
    try {
      stream = connection.open({
        head: this.#headers.make(headers, RESERVE_BYTES),
        readMaxBytes: this.#readMaxBytes,
        controlFrames: CONTROL_FRAMES,
        listener,
      });
    } catch (error) {
      // The headers are too large or not valid; or the connection was lost between ready() and here.
      if (error instanceof ConnectError) throw error;
      if (connection.isUsable) throw invalidHeaders(error);
      return undefined;
    }
    if (!this.#bound) this.#bind(this.#addresses.homeOf(connection));
    connection.useHawserKeepalive();
    return stream;
  }
}
