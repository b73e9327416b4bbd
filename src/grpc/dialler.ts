import { Code, ConnectError } from "@connectrpc/connect";
import { asFailure, failure } from "../failure.ts";
import type { AttachmentWatcher, Dialler, Leaver } from "../session/attachment.ts";
import { CONTROL } from "../session/control.ts";
import { invalidHeaders } from "./attempts.ts";
import { ClientStream } from "./client-stream.ts";
import type { Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { COMPRESSED, type Frame } from "./framing.ts";
import type { RequestHeaders } from "./request-headers.ts";

/**
 * What the first attachment leaves of the room for its headers: the numbers in
 * those of later ones may be longer, and a cancel has one more.
 */
const RESERVE_BYTES = 64;

/** Opens the streams of a session on the connections of a transport. */
export class StreamDialler implements Dialler<Frame> {
  readonly #connections: Connections;
  readonly #headers: RequestHeaders;
  readonly #readMaxBytes: number;

  /** @param headers those of an attachment, without those of the session */
  constructor(connections: Connections, headers: RequestHeaders, readMaxBytes: number) {
    this.#connections = connections;
    this.#headers = headers;
    this.#readMaxBytes = readMaxBytes;
  }

  dial(headers: () => Record<string, string>, watcher: AttachmentWatcher<Frame>): void {
    const ready = this.#connections.ready();
    if (ready !== undefined) {
      this.#open(ready, headers, watcher);
      return;
    }
    this.#connections
      .acquire(
        (connection) => this.#open(connection, headers, watcher),
        () => watcher.wanted,
      )
      .catch((reason) => {
        const error = asFailure(reason);
        watcher.onBroken({ error, refused: error.code !== Code.Unavailable });
      });
  }

  tell(headers: () => Record<string, string>, forMs: number): void {
    this.#connections.farewells.say(() => this.#headers.make(headers()), forMs);
  }

  begun(session: Leaver): void {
    this.#connections.sessions.add(session);
  }

  over(session: Leaver): void {
    this.#connections.sessions.delete(session);
  }

  #open(
    connection: Connection,
    headers: () => Record<string, string>,
    watcher: AttachmentWatcher<Frame>,
  ): void {
    if (!watcher.wanted) return;
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
    connection.knowHawser();
    watcher.onOpen(stream);
  }
}
