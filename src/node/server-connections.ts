import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Keepalive, Watch } from "../connection/keepalive.ts";
import { startTimer } from "../flow/wait.ts";
import { noteLoss } from "./http2/server-stream.ts";

const OWNER = Symbol("connection");

type StreamOfConnection = ServerHttp2Stream & { [OWNER]: ClientConnection };

/** The HTTP/2 connections of a server. Keepalive watches each of them while streams are open on it. */
export class ServerConnections {
  readonly #keepalive: Keepalive;
  readonly #prefaceTimeoutMs: number;
  readonly #all = new Map<ServerHttp2Session, ClientConnection>();

  /** @param prefaceTimeoutMs how long a client's first SETTINGS may take */
  constructor(keepalive: Keepalive, prefaceTimeoutMs: number) {
    this.#keepalive = keepalive;
    this.#prefaceTimeoutMs = prefaceTimeoutMs;
  }

  add(session: ServerHttp2Session): void {
    const connection = new ClientConnection(session, this.#keepalive);
    this.#all.set(session, connection);
    const silent = startTimer(this.#prefaceTimeoutMs, () => session.destroy());
    session.once("remoteSettings", () => silent[Symbol.dispose]());
    session.on("close", () => {
      silent[Symbol.dispose]();
      connection.watch[Symbol.dispose]();
      this.#all.delete(session);
    });
    session.on("error", () => {});
  }

  /** Counts a new stream until it closes: while streams are open, keepalive watches their connection. */
  onStream(stream: ServerHttp2Stream): void {
    const connection = stream.session && this.#all.get(stream.session as ServerHttp2Session);
    if (connection === undefined || stream.destroyed) return;
    (stream as StreamOfConnection)[OWNER] = connection;
    stream.on("close", onClose);
    if (connection.openStreams++ === 0) connection.watch.onBusy();
  }

  /** Sends keepalive pings more often, because this client has sessions. */
  useHawserKeepalive(session: ServerHttp2Session): void {
    this.#all.get(session)?.watch.useHawserKeepalive();
  }

  /** Tells every client to open no more calls here (GOAWAY). */
  drainAll(): void {
    for (const session of this.#all.keys()) this.drain(session);
  }

  /** Tells a client, once, to open no more calls here (GOAWAY). */
  drain(session: ServerHttp2Session): void {
    const connection = this.#all.get(session);
    if (connection === undefined || connection.draining) return;
    connection.draining = true;
    if (connection.openStreams === 0) connection.close();
    else goAway(session);
  }

  /** Closes each connection after its streams have ended. */
  close(): void {
    for (const session of this.#all.keys()) session.close();
  }

  destroy(): void {
    for (const session of this.#all.keys()) session.destroy();
  }
}

/** One listener for all streams: a closure for each would be a tenth of the memory of an idle stream. */
function onClose(this: ServerHttp2Stream): void {
  const connection = (this as StreamOfConnection)[OWNER];
  if (--connection.openStreams === 0 && connection.draining) connection.close();
}

/** A connection of a client, and the number of streams that are open on it. */
class ClientConnection {
  readonly watch: Watch;
  readonly #session: ServerHttp2Session;
  openStreams = 0;
  draining = false;

  constructor(session: ServerHttp2Session, keepalive: Keepalive) {
    const { socket } = session;
    this.#session = session;
    this.watch = keepalive.watch({
      // A connection that has ended no longer has a socket.
      bytesRead: () => (session.destroyed ? 0 : socket.bytesRead),
      busy: () => this.openStreams > 0,
      ping: (answered) => {
        if (!session.destroyed) session.ping((error) => error === null && answered());
      },
      dead: (afterMs) => {
        noteLoss(session, `no answer to a keepalive ping for ${afterMs} ms`);
        session.destroy();
        socket.destroy();
      },
    });
  }

  /**
   * Sends the final GOAWAY, and closes the connection after its streams have ended. Once any GOAWAY was sent and no
   * stream is open, nghttp2 reads no more: it would never see the answer to a ping, and a stream that the client has
   * opened meanwhile would wait forever. The final GOAWAY tells the client that this stream was not processed.
   */
  close(): void {
    if (!this.#session.closed && !this.#session.destroyed) this.#session.close();
  }
}

/** Sends a first GOAWAY, which refuses no stream, and after a round trip the final one (RFC 9113, 6.8). */
function goAway(session: ServerHttp2Session): void {
  if (session.closed || session.destroyed) return;
  session.goaway(constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1);
  try {
    session.ping(() => {
      if (!session.closed && !session.destroyed) session.close();
    });
  } catch {
    session.close();
  }
}
