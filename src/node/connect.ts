import * as net from "node:net";
import * as tls from "node:tls";
import type { Target } from "../connection/address.ts";
import { ClientConnection, type NotReady } from "../connection/client-connection.ts";
import type { Connect, Connection, ConnectionOwner } from "../connection/connection.ts";
import { TCP_KEEPALIVE_MS } from "../connection/keepalive.ts";
import { type ConnectPhase, SERVER_CLOSED, unreachable } from "../connection/unreachable.ts";
import { systemReason } from "../failure.ts";
import { onAbort, startTimer } from "../flow/wait.ts";
import type { ConnectOptions } from "../transport/make-transport.ts";
import { SocketPipe } from "./socket-pipe.ts";
import type { ClientTlsSettings } from "./tls.ts";

/** The options for making connections. */
export interface SocketOptions extends ConnectOptions {
  readonly tls: ClientTlsSettings;
}

/** Returns a function that makes connections: TCP, TLS and the server's SETTINGS within `timeoutMs`. */
export function connectBy(options: SocketOptions): Connect {
  return (target, owner) => connect(target, options, owner);
}

async function connect(
  target: Target,
  { tls: tlsSettings, timeoutMs, buffers, budget, notifier }: SocketOptions,
  owner: ConnectionOwner,
): Promise<Connection> {
  const { closing } = owner;
  const socket = target.tls ? tlsSocket(target, tlsSettings) : net.connect(target.connect);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
  return await new Promise<Connection>((resolve, reject) => {
    let phase: ConnectPhase = target.tls ? "the TLS handshake" : "the connection";
    let listening: Disposable | undefined;
    let isSettled = false;
    const timer = startTimer(timeoutMs, () => fail(`${phase} took over ${timeoutMs} ms`));
    const onError = (error: Error) => fail(systemReason(error), error);
    const onClose = () => fail(SERVER_CLOSED);
    const settle = () => {
      isSettled = true;
      timer[Symbol.dispose]();
      listening?.[Symbol.dispose]();
      socket.off("close", onClose);
      socket.off("error", onError);
    };
    const end = () => {
      settle();
      // An error of the socket that nothing listens to would end the process.
      socket.on("error", ignore);
      socket.destroy();
    };
    const fail = (reason: string, cause?: unknown) => {
      // The connection that end() closes has failed, too.
      if (isSettled) return;
      end();
      const { hasCertificate } = tlsSettings;
      const error = unreachable({ target, phase, reason, cause, hasCertificate });
      notifier?.tell("connectionFailed", { address: target.name, error });
      reject(error);
    };
    const greet = () => {
      if (target.tls && (socket as tls.TLSSocket).alpnProtocol !== "h2") {
        fail("it does not offer HTTP/2 by ALPN");
        return;
      }
      phase = "the server's HTTP/2 SETTINGS";
      const pipe = new SocketPipe(socket);
      const connection = new ClientConnection({
        ...{ target, pipe, owner, buffers, budget, notifier },
      });
      connection.ready.then(
        () => {
          settle();
          resolve(connection);
        },
        ({ reason, cause }: NotReady) => fail(reason, cause),
      );
    };
    socket.on("error", onError);
    socket.on("close", onClose);
    socket.once(target.tls ? "secureConnect" : "connect", greet);
    listening = onAbort(closing, (reason) => {
      end();
      reject(reason);
    });
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

function ignore(): void {}
