import * as net from "node:net";
import * as tls from "node:tls";
import { Code } from "@connectrpc/connect";
import { TCP_KEEPALIVE_MS } from "../connection/keepalive.ts";
import { failure } from "../failure.ts";
import { startTimer } from "../flow/wait.ts";
import { type ConnectionLimit, limitConnections } from "./limit-connections.ts";
import { resetSocket } from "./reset-socket.ts";
import {
  checkServerCertificate,
  type ServerCertificate,
  type TlsOptions,
} from "./server-options.ts";
import { peerOf } from "./socket-peer.ts";
import { orExplain } from "./tls.ts";

/** The options of every TCP connection. */
const TCP = { noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEPALIVE_MS };

/** The first bytes of HTTP/2 (RFC 9113, 3.4). No request of HTTP/1 starts with them. */
const PREFACE_START = Buffer.from("PRI * ");

const MIN_TLS = "TLSv1.2" as const;

/** Receives each connection when its protocol is known. */
export interface Protocols {
  /** @param received the first bytes */
  http2(socket: net.Socket, received: Uint8Array): void;
  http1(socket: net.Socket): void;
}

/** A port, or a Unix socket, that serves HTTP/1.1 and HTTP/2, with TLS or without. */
export interface Listener {
  readonly server: net.Server;
  /** Uses another certificate for further connections. Throws FAILED_PRECONDITION if the listener has no TLS. */
  setTls(tls: ServerCertificate): void;
  /** Ends every connection now. */
  destroyAll(): void;
  /** Resets every connection now, like a crash of the process. */
  resetAll(): void;
}

/** The limits of a listener. */
export interface ListenerSettings extends ConnectionLimit {
  /** How long a client may take to send its first bytes. */
  readonly prefaceTimeoutMs: number;
}

/**
 * Tells HTTP/2 from HTTP/1.1 by the first bytes that a client sends, with TLS or without. Disconnects a client that
 * sends nothing for `prefaceTimeoutMs`.
 */
export function createListener(
  tlsOptions: TlsOptions | undefined,
  settings: ListenerSettings,
  protocols: Protocols,
): Listener {
  const { prefaceTimeoutMs, notifier } = settings;
  const sockets = new Set<net.Socket>();
  const onSocket = (socket: net.Socket) => detectProtocol(socket, settings, protocols);
  const server =
    tlsOptions === undefined
      ? net.createServer(TCP, onSocket)
      : orExplain("createServer", tlsOptions, () =>
          createTlsServer(tlsOptions, prefaceTimeoutMs, onSocket),
        );
  // The TCP connection, even if its TLS handshake never ends.
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  // If a TLS handshake fails or never ends, node:tls leaves closing the socket to this listener.
  server.on("tlsClientError", (_error, socket) => {
    tellRefused(notifier, socket, "tls");
    socket.destroy();
  });
  limitConnections(server, settings);
  return {
    server,
    setTls(certificate) {
      if (!(server instanceof tls.Server) || tlsOptions === undefined) {
        const what = "setTls: this server was made without tls: make another with it";
        throw failure(Code.FailedPrecondition, what);
      }
      replaceCertificate(server, certificate, tlsOptions);
    },
    destroyAll() {
      for (const socket of sockets) socket.destroy();
    },
    resetAll() {
      for (const socket of sockets) resetSocket(socket);
    },
  };
}

function createTlsServer(
  { cert, key, ca, requestClientCertificate = ca !== undefined }: TlsOptions,
  handshakeTimeout: number,
  onSocket: (socket: net.Socket) => void,
): tls.Server {
  const options = {
    ...TCP,
    handshakeTimeout,
    cert,
    key,
    ca: trusted(ca),
    requestCert: requestClientCertificate,
    rejectUnauthorized: ca !== undefined,
    ALPNProtocols: ["h2", "http/1.1"],
    minVersion: MIN_TLS,
  };
  return tls.createServer(options, onSocket);
}

/** Without a CA no client is trusted. Node would trust the CAs of the system, which vouch for anybody. */
function trusted(ca: ServerCertificate["ca"]): NonNullable<ServerCertificate["ca"]> | [] {
  return ca ?? [];
}

/** The CA decides whether clients are asked for certificates, which a server cannot change while it listens. */
function replaceCertificate(
  server: tls.Server,
  texts: ServerCertificate,
  before: TlsOptions,
): void {
  checkServerCertificate(texts);
  if ((texts.ca === undefined) !== (before.ca === undefined)) {
    const [was, is] = before.ca === undefined ? ["without", "with"] : ["with", "without"];
    const what = `setTls: the server was made ${was} tls.ca, and this is ${is}: make another server`;
    throw failure(Code.InvalidArgument, what);
  }
  const { cert, key, ca } = texts;
  orExplain("setTls", texts, () => {
    server.setSecureContext({
      cert,
      key,
      ca: trusted(ca),
      minVersion: MIN_TLS,
    });
  });
}

function tellRefused(
  notifier: ListenerSettings["notifier"],
  socket: net.Socket,
  why: "prefaceTimeoutMs" | "tls",
): void {
  notifier?.tell("connectionRefused", { peer: { address: peerOf(socket).address }, why });
}

function detectProtocol(
  socket: net.Socket,
  { prefaceTimeoutMs, notifier }: ListenerSettings,
  protocols: Protocols,
): void {
  let received: Buffer = Buffer.alloc(0);
  const timer = startTimer(prefaceTimeoutMs, () => {
    tellRefused(notifier, socket, "prefaceTimeoutMs");
    socket.destroy();
  });
  const stop = () => {
    timer[Symbol.dispose]();
    socket.off("readable", read);
    socket.off("error", stop);
    socket.off("close", stop);
  };
  const read = () => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) return;
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    const known = Math.min(received.length, PREFACE_START.length);
    const isHttp2 = received.subarray(0, known).equals(PREFACE_START.subarray(0, known));
    if (isHttp2 && known < PREFACE_START.length) return;
    stop();
    if (isHttp2) protocols.http2(socket, received);
    else {
      socket.unshift(received);
      protocols.http1(socket);
    }
  };
  socket.on("readable", read);
  socket.on("error", stop);
  socket.on("close", stop);
}
