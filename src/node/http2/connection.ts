import * as http2 from "node:http2";
import * as net from "node:net";
import * as tls from "node:tls";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { Target } from "../../connection/address.ts";
import type {
  Connect,
  Connection,
  ConnectionOwner,
  OpenStream,
} from "../../connection/connection.ts";
import { TCP_KEEPALIVE_MS, type Watch } from "../../connection/keepalive.ts";
import { type ConnectPhase, SERVER_CLOSED, unreachable } from "../../connection/unreachable.ts";
import { failure, systemReason } from "../../failure.ts";
import { realClock } from "../../flow/clock.ts";
import { startTimer } from "../../flow/wait.ts";
import { checkRequestHeaders, HEADERS_MAX_BYTES } from "../../grpc/header-limits.ts";
import {
  CLIENT_CONNECTION_WINDOW_BYTES,
  SESSION_MEMORY_MB,
  STREAM_WINDOW_BYTES,
} from "../../grpc/limits.ts";
import type { NegotiatedSettings } from "../../session/settings.ts";
import type { ClientTlsSettings } from "../tls.ts";
import { GrpcClientStream, type StreamConnection } from "./client-stream.ts";

/**
 * node:http2 resets a stream with more header fields than this, with the same code
 * that a server may use. So the value is too high to be reached: even empty fields
 * are then over HEADERS_MAX_BYTES. GrpcClientStream refuses more fields than
 * HEADERS_MAX_FIELDS (failure.ts) with an error that explains it.
 */
const RECEIVED_MAX_FIELDS = HEADERS_MAX_BYTES / 32;

/** No stream can be opened after this one (RFC 9113, 5.1.1). */
const LAST_STREAM_ID = 2 ** 31 - 1;

interface Connected {
  readonly session: http2.ClientHttp2Session;
  readonly socket: net.Socket;
}

/** One HTTP/2 connection of a client, from the server's SETTINGS on. */
class NodeConnection implements Connection, StreamConnection {
  readonly target: Target;
  /** The address in errors. */
  readonly name: string;
  #settings: NegotiatedSettings | false | undefined;
  /** When `sessionSettings` was set, by this process's clock. */
  #settingsSetMs = 0;
  #areSettingsOutdated = false;
  /** Resolves when the socket is closed. */
  readonly #closed: Promise<void>;
  readonly #session: http2.ClientHttp2Session;
  readonly #socket: net.Socket;
  readonly #keepalive: Watch;
  readonly #owner: ConnectionOwner;
  readonly #onStreamClose = (): void => {
    if (--this.#active === 0) this.#socket.unref();
    this.#owner.onChange();
  };
  #active = 0;
  #lost: ConnectError | undefined;
  #draining = false;
  #lastStreamId = Number.POSITIVE_INFINITY;

  constructor(target: Target, { session, socket }: Connected, owner: ConnectionOwner) {
    const { keepalive } = owner;
    this.target = target;
    this.name = target.name;
    this.#session = session;
    this.#socket = socket;
    this.#owner = owner;
    const onChange = () => owner.onChange();
    this.#closed = new Promise((resolve) => socket.once("close", () => resolve()));
    session.on("goaway", (code, lastStreamId, data) => {
      if (!this.#draining) owner.onDrain();
      this.#draining = true;
      this.#lastStreamId = Math.min(this.#lastStreamId, lastStreamId);
      const reason = data === undefined ? "" : Buffer.from(data).toString("latin1");
      if (code === http2.constants.NGHTTP2_ENHANCE_YOUR_CALM && reason === "too_many_pings") {
        keepalive.slowDown();
      }
      if (code !== http2.constants.NGHTTP2_NO_ERROR) {
        this.#lose(
          `it sent GOAWAY with HTTP/2 error ${code}${reason === "" ? "" : ` "${reason}"`}`,
        );
      }
      onChange();
    });
    session.on("localSettings", onChange);
    session.on("remoteSettings", onChange);
    session.on("error", (error) => this.#lose(reasonOf(error)));
    session.on("close", () => {
      this.#keepalive[Symbol.dispose]();
      this.#lose("the server closed it");
      onChange();
    });
    // Prepended, so that the streams find the reason when they are closed by the same event.
    socket.prependListener("error", (error) => this.#lose(systemReason(error)));
    socket.prependListener("close", () => this.#lose("the server closed it"));
    this.#keepalive = keepalive.watch({
      bytesRead: () => socket.bytesRead,
      // Calls that wait for this connection must fail too if the server no longer answers.
      busy: () => this.#active > 0 || owner.isAwaited(),
      ping: (answered) => {
        // If the connection ends first, ping() calls back with an error.
        if (!session.destroyed) session.ping((error) => error === null && answered());
      },
      dead: (afterMs) => {
        this.#lose(`no answer to a keepalive ping for ${afterMs} ms`);
        session.destroy();
        socket.destroy();
      },
    });
    socket.unref();
  }

  get hasFreeStream(): boolean {
    return this.isUsable && this.#active < this.#maxStreams;
  }

  get takesNoCalls(): boolean {
    return this.isUsable && this.#maxStreams === 0;
  }

  get #maxStreams(): number {
    return this.#session.remoteSettings.maxConcurrentStreams as number;
  }

  get isUsable(): boolean {
    return !this.#draining && this.lossReason === undefined && !this.#session.closed;
  }

  get active(): number {
    return this.#active;
  }

  get lossReason(): ConnectError | undefined {
    // If the server breaks the protocol, node:http2 destroys the session before it emits the error.
    if (this.#session.destroyed) this.#lose(BROKEN);
    return this.#lost;
  }

  get sessionSettings(): NegotiatedSettings | false | undefined {
    return this.#settings;
  }

  setSessionSettings(settings: NegotiatedSettings | false): void {
    this.#settings = settings;
    this.#settingsSetMs = realClock.now();
    this.#areSettingsOutdated = false;
  }

  invalidateSettings(untilMs: number): void {
    if (this.#settingsSetMs <= untilMs && this.#settings) this.#areSettingsOutdated = true;
  }

  get mustNegotiate(): boolean {
    return this.#settings === undefined || this.#areSettingsOutdated;
  }

  open(init: OpenStream): GrpcClientStream {
    const { fields, hasMetadata, reserveBytes } = init.head;
    fields[":authority"] = this.target.authority;
    if (hasMetadata) {
      checkRequestHeaders(fields, this.#session.remoteSettings.maxHeaderListSize, reserveBytes);
    }
    const stream = this.#session.request(fields, { endStream: false });
    forgetSent(stream);
    if (this.#active++ === 0) {
      this.#socket.ref();
      this.#keepalive.onBusy();
    }
    stream.once("close", this.#onStreamClose);
    // close() waits for the open calls; later calls get another connection.
    if (stream.id === LAST_STREAM_ID) this.#session.close();
    return new GrpcClientStream(stream, this, init);
  }

  onAwaited(): void {
    if (this.#active === 0) this.#keepalive.onBusy();
  }

  useHawserKeepalive(): void {
    this.#keepalive.useHawserKeepalive();
  }

  /** Whether the server certainly did nothing for `stream`: its GOAWAY named an earlier stream as the last one. */
  neverProcessed(stream: http2.ClientHttp2Stream): boolean {
    return stream.id === undefined || stream.id > this.#lastStreamId;
  }

  async close(reason: ConnectError): Promise<void> {
    // What was just written must reach the socket before it is destroyed, for example the confirmation of a session's
    // end: without it the server would wait for another attachment.
    await new Promise((resolve) => setImmediate(resolve));
    this.#lost ??= reason;
    this.#session.destroy();
    this.#socket.destroy();
    await this.#closed;
  }

  #lose(reason: string): void {
    this.#lost ??= failure(
      Code.Unavailable,
      `the connection to ${this.target.name} was lost (${reason})`,
    );
  }
}

/** node:http2 does not report which of these it was. */
const BROKEN = `the server broke the HTTP/2 protocol, or sent headers that node:http2 does not take: a field over ${HEADERS_MAX_BYTES} B, or more than 9 frames`;

function reasonOf(error: NodeJS.ErrnoException): string {
  return error.code === "ERR_HTTP2_ERROR" ? BROKEN : systemReason(error);
}

/**
 * Frees the sent headers, which node:http2 keeps with a stream for `sentHeaders`.
 * Hawser never reads them, and they are a tenth of the memory of an idle stream.
 */
function forgetSent(stream: http2.ClientHttp2Stream): void {
  sentHeaders ??= Object.getOwnPropertySymbols(stream).find(
    ({ description }) => description === "sent-headers",
  );
  if (sentHeaders !== undefined) Reflect.set(stream, sentHeaders, undefined);
}

let sentHeaders: symbol | undefined;

/** The options for making connections. */
export interface ConnectOptions {
  readonly tls: ClientTlsSettings;
  readonly timeoutMs: number;
}

/** Returns a function that makes connections: TCP, TLS and the server's SETTINGS within `timeoutMs`. */
export function connectBy(options: ConnectOptions): Connect {
  return (target, owner) => connect(target, options, owner);
}

async function connect(
  target: Target,
  { tls: tlsSettings, timeoutMs }: ConnectOptions,
  owner: ConnectionOwner,
): Promise<Connection> {
  const { signal } = owner;
  const socket = target.tls ? tlsSocket(target, tlsSettings) : net.connect(target.connect);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
  return await new Promise<Connection>((resolve, reject) => {
    let session: http2.ClientHttp2Session | undefined;
    let phase: ConnectPhase = target.tls ? "the TLS handshake" : "the connection";
    const timer = startTimer(timeoutMs, () => fail(`${phase} took over ${timeoutMs} ms`));
    const cancelled = () => {
      end();
      reject(signal.reason);
    };
    const onError = (error: Error) => fail(systemReason(error), error);
    const onClose = () => fail(SERVER_CLOSED);
    const settle = () => {
      timer[Symbol.dispose]();
      signal.removeEventListener("abort", cancelled);
      socket.off("close", onClose);
      session?.off("error", onError);
    };
    const end = () => {
      settle();
      // Ignores later errors of the connection: the promise is settled.
      session?.on("error", () => {});
      session?.destroy();
      socket.destroy();
    };
    const fail = (reason: string, cause?: unknown) => {
      end();
      const { hasCertificate } = tlsSettings;
      reject(unreachable({ target, phase, reason, cause, hasCertificate }));
    };
    const greet = () => {
      if (target.tls && (socket as tls.TLSSocket).alpnProtocol !== "h2") {
        fail("it does not offer HTTP/2 by ALPN");
        return;
      }
      phase = "the server's HTTP/2 SETTINGS";
      session = http2.connect(`${target.tls ? "https" : "http"}://${target.authority}`, {
        createConnection: () => socket,
        settings: {
          initialWindowSize: STREAM_WINDOW_BYTES,
          enablePush: false,
          maxHeaderListSize: HEADERS_MAX_BYTES,
        },
        maxSessionMemory: SESSION_MEMORY_MB,
        maxHeaderListPairs: RECEIVED_MAX_FIELDS,
      });
      session.on("error", onError);
      session.once("remoteSettings", () => {
        settle();
        (session as http2.ClientHttp2Session).setLocalWindowSize(CLIENT_CONNECTION_WINDOW_BYTES);
        resolve(new NodeConnection(target, { session: session!, socket }, owner));
      });
    };
    signal.addEventListener("abort", cancelled);
    socket.on("error", onError);
    socket.on("close", onClose);
    socket.once(target.tls ? "secureConnect" : "connect", greet);
    if (signal.aborted) cancelled();
  });
}

function tlsSocket(target: Target, settings: ClientTlsSettings): tls.TLSSocket {
  const { serverName, rejectUnauthorized, secureContext } = settings;
  return tls.connect({
    ...target.connect,
    secureContext,
    rejectUnauthorized,
    servername: serverName ?? serverNameOf(target),
    ALPNProtocols: ["h2"],
  });
}

/** The name for SNI; empty for an IP address (RFC 6066). */
function serverNameOf(target: Target): string {
  return net.isIP(target.hostname) === 0 ? target.hostname : "";
}
