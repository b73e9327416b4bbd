import { Code } from "@connectrpc/connect";
import type { Target } from "../connection/address.ts";
import { ClientConnection, type NotReady } from "../connection/client-connection.ts";
import type { Connect, Connection, ConnectionOwner } from "../connection/connection.ts";
import { failure, systemReason } from "../failure.ts";
import { onAbort, startTimer } from "../flow/wait.ts";
import type { ConnectOptions } from "../transport/make-transport.ts";
import { WebSocketPipe } from "./web-socket-pipe.ts";

/** The subprotocol: the binary messages are the bytes of an HTTP/2 connection, wherever they are cut. */
const SUBPROTOCOL = "hawser.h2.v1";

/** A page is not told why a WebSocket fails. */
const REFUSED =
  "no WebSocket there: is the server up, does it have the option webSocket with this path, is this page's origin among its origins, and is it allowed by connect-src of the page's policy?";

/** The options for making connections. */
export interface WebSocketConnectOptions extends ConnectOptions {
  /** The path of the server's WebSocket. */
  readonly path: string;
}

/** Returns a function that makes connections: the WebSocket and the server's SETTINGS within `timeoutMs`. */
export function connectBy(options: WebSocketConnectOptions): Connect {
  return (target, owner) => connect(target, options, owner);
}

function connect(
  target: Target,
  { path, timeoutMs, buffers, budget, notifier }: WebSocketConnectOptions,
  owner: ConnectionOwner,
): Promise<Connection> {
  const url = `${target.tls ? "wss" : "ws"}://${target.authority}${target.pathPrefix}${path}`;
  return new Promise<Connection>((resolve, reject) => {
    let leave = () => {};
    let listening: Disposable | undefined;
    let isSettled = false;
    const timer = startTimer(timeoutMs, () => fail(`no answer within ${timeoutMs} ms`), true);
    const settle = () => {
      isSettled = true;
      timer[Symbol.dispose]();
      listening?.[Symbol.dispose]();
    };
    const end = (error: unknown) => {
      settle();
      leave();
      reject(error);
    };
    const fail = (reason: string, cause?: unknown) => {
      // The connection that leave() closes has failed, too.
      if (isSettled) return;
      const what = `cannot reach ${target.name} (${url}): ${reason}`;
      const error = failure(Code.Unavailable, what, cause);
      notifier?.tell("connectionFailed", { address: target.name, error });
      end(error);
    };
    let socket: WebSocket;
    try {
      socket = new WebSocket(url, SUBPROTOCOL);
    } catch (error) {
      // As a page with https:// may not use ws://.
      fail(systemReason(error), error);
      return;
    }
    const pipe = new WebSocketPipe(socket);
    leave = () => {
      socket.onopen = socket.onerror = null;
      socket.close();
    };
    // Nothing closes if the page's policy forbids the address.
    socket.onerror = () => fail(REFUSED);
    socket.onopen = () => {
      socket.onerror = null;
      leave = () => pipe.destroy();
      const connection = new ClientConnection({ target, pipe, owner, buffers, budget, notifier });
      connection.ready.then(
        () => {
          settle();
          resolve(connection);
        },
        ({ reason, cause }: NotReady) => fail(reason, cause),
      );
    };
    listening = onAbort(owner.closing, end);
  });
}
