import { Code, ConnectError } from "@connectrpc/connect";
import { asFailure, failure } from "../failure.ts";
import { COMPRESSED, type Frame } from "../grpc/framing.ts";
import type { RequestHeaders } from "../grpc/request-headers.ts";
import { ClientStream } from "../node/http2/client-stream.ts";
import type { Connection } from "../node/http2/connection.ts";
import type { AttachmentWatcher, Dialler, Leaver, TermsWatcher } from "../session/attachment.ts";
import { CONTROL } from "../session/control.ts";
import type { Addresses } from "./addresses.ts";
import { invalidHeaders } from "./attempts.ts";
import type { Connections } from "./connections.ts";
import { type MethodHeaders, negotiated } from "./negotiate.ts";

/**
 * What the first attachment leaves of the room for its headers: the numbers in
 * those of later ones may be longer, and a cancel has one more.
 */
const RESERVE_BYTES = 64;

/** What the streams of a session have in common. */
export interface StreamDiallerInit {
  readonly addresses: Addresses;
  /** The connections to the address where the session is. */
  readonly connections: Connections;
  /** Those of an attachment, without those of the session. */
  readonly headers: RequestHeaders;
  /** Makes the request headers of a method that belongs to no call. */
  readonly ownHeaders: MethodHeaders;
  readonly readMaxBytes: number;
}

/** Opens the streams of a session on the connections of a transport: those to one address, once it has begun. */
export class StreamDialler implements Dialler<Frame> {
  readonly #addresses: Addresses;
  readonly #headers: RequestHeaders;
  readonly #ownHeaders: MethodHeaders;
  readonly #readMaxBytes: number;
  #connections: Connections;
  #bound = true;
  #session: Leaver | undefined;

  constructor(init: StreamDiallerInit) {
    const { addresses, connections, headers, ownHeaders, readMaxBytes } = init;
    this.#addresses = addresses;
    this.#connections = connections;
    this.#headers = headers;
    this.#ownHeaders = ownHeaders;
    this.#readMaxBytes = readMaxBytes;
  }

  dial(headers: () => Record<string, string>, watcher: AttachmentWatcher<Frame>): void {
    const failed = (reason: unknown) => {
      const error = asFailure(reason);
      watcher.onBroken({ error, refused: error.code !== Code.Unavailable });
    };
    const use = (connection: Connection) => {
      if (!watcher.wanted) return;
      const renewal = this.#headers.renew();
      if (renewal === undefined) this.#open(connection, headers, watcher);
      // By then it may have to be another connection.
      else renewal.then(() => watcher.wanted && this.dial(headers, watcher), failed);
    };
    const source = this.#bound ? this.#connections : this.#addresses;
    const ready = source.ready();
    if (ready !== undefined) use(ready);
    else source.acquire(use, () => watcher.wanted).catch(failed);
  }

  unbind(): void {
    this.#bound = false;
  }

  renegotiate(sinceMs: number, watcher: TermsWatcher): void {
    this.#connections.doubtSessions(sinceMs);
    negotiated(this.#connections, this.#ownHeaders, () => watcher.wanted).then(
      ({ sessions, mustNegotiate }) => {
        if (sessions && !mustNegotiate) watcher.onTerms(sessions);
        else watcher.onNoTerms();
      },
      (reason) => watcher.onNoTerms(asFailure(reason)),
    );
  }

  tell(headers: () => Record<string, string>, forMs: number): void {
    const own = this.#headers;
    this.#connections.farewells.say(
      { renew: () => own.renew(), make: () => own.make(headers()) },
      forMs,
    );
  }

  begun(session: Leaver): void {
    this.#session = session;
    this.#connections.sessions.add(session);
  }

  over(session: Leaver): void {
    this.#session = undefined;
    this.#connections.sessions.delete(session);
  }

  #bind(connections: Connections): void {
    this.#bound = true;
    if (this.#session !== undefined) {
      this.#connections.sessions.delete(this.#session);
      connections.sessions.add(this.#session);
    }
    this.#connections = connections;
    connections.hurry();
  }

  #open(
    connection: Connection,
    headers: () => Record<string, string>,
    watcher: AttachmentWatcher<Frame>,
  ): void {
    let stream: ClientStream;
    try {
      const request = this.#headers.make(headers(), RESERVE_BYTES);
      stream = new ClientStream(
        connection,
        request,
        this.#readMaxBytes,
        watcher,
        COMPRESSED | CONTROL,
      );
    } catch (error) {
      // The headers are too large or no headers, or the connection went away between the look and the use.
      if (error instanceof ConnectError) watcher.onBroken({ error, refused: true });
      else if (connection.usable) watcher.onBroken({ error: invalidHeaders(error), refused: true });
      else {
        const lost = connection.lost ?? failure(Code.Unavailable, "the connection was lost");
        watcher.onBroken({ error: lost, refused: false });
      }
      return;
    }
    if (!this.#bound) this.#bind(this.#addresses.homeOf(connection));
    connection.knowHawser();
    watcher.onOpen(stream);
  }
}
