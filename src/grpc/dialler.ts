import type { OutgoingHttpHeaders } from "node:http2";
import { Code } from "@connectrpc/connect";
import { asFailure, failure } from "../failure.ts";
import type { AttachmentWatcher, Dialler, Leaver } from "../session/attachment.ts";
import { CONTROL } from "../session/control.ts";
import { invalidHeaders } from "./attempts.ts";
import { ClientStream } from "./client-stream.ts";
import type { Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { COMPRESSED, type Frame } from "./framing.ts";

/** Opens the streams of a session on the connections of a transport. */
export class StreamDialler implements Dialler<Frame> {
  readonly #connections: Connections;
  readonly #headers: () => OutgoingHttpHeaders;
  readonly #readMaxBytes: number;

  /** @param headers makes the request headers of an attachment, those of the session aside */
  constructor(connections: Connections, headers: () => OutgoingHttpHeaders, readMaxBytes: number) {
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
    this.#connections.farewells.say(() => Object.assign(this.#headers(), headers()), forMs);
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
      const request = Object.assign(this.#headers(), headers());
      stream = new ClientStream(
        connection,
        request,
        this.#readMaxBytes,
        watcher,
        COMPRESSED | CONTROL,
      );
    } catch (error) {
      // Either the connection went away between the look and the use, or the headers are no headers.
      if (connection.usable) watcher.onBroken({ error: invalidHeaders(error), refused: true });
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
