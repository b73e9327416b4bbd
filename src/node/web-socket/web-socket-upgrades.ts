/** Answers requests that open a WebSocket, with the package `ws`. Loaded by load-upgrades.ts alone. */
import type { IncomingMessage } from "node:http";
import { WebSocketServer, type ServerOptions as WsOptions } from "ws";
import { realClock } from "../../flow/clock.ts";
import { type Host, isOwnOrigin } from "../../server/origins.ts";
import { refuseUpgrade, type UpgradeRequest } from "../http1-upgrade.ts";
import { SUBPROTOCOL, type UpgradeSettings } from "./web-socket-options.ts";
import { WebSocketPipe } from "./web-socket-pipe.ts";

/** The largest message: Hawser's clients send half of it. Until a message is complete, `ws` holds it. */
const MAX_MESSAGE_BYTES = 128 * 1024;

/** Browsers divide large messages. A fragment of 1 KiB is smaller than any of them makes. */
const MAX_FRAGMENTS = 128;

/** How many reads of the socket may bring a message. */
const MAX_CHUNKS = 1024;

/** A client may take this long to read what was sent before a close frame, and to answer that. */
const CLOSE_TIMEOUT_MS = 11_000;

/** @types/ws does not know `closeTimeout`. */
const WS_OPTIONS: WsOptions & { closeTimeout: number } = {
  noServer: true,
  // The engine keeps the connections.
  clientTracking: false,
  // Messages are compressed by gRPC, where their sender wants it.
  perMessageDeflate: false,
  // They are counted.
  autoPong: false,
  maxPayload: MAX_MESSAGE_BYTES,
  maxFragments: MAX_FRAGMENTS,
  maxBufferedChunks: MAX_CHUNKS,
  closeTimeout: CLOSE_TIMEOUT_MS,
  handleProtocols: () => SUBPROTOCOL,
};

/** Called with an open WebSocket. */
export type OnWebSocket = (pipe: WebSocketPipe, upgrade: UpgradeRequest) => void;

/** Returns a function that opens a WebSocket, or answers with the reason why not. */
export function createUpgrade(
  { path, origins, abuseBudget }: UpgradeSettings,
  onWebSocket: OnWebSocket,
): (upgrade: UpgradeRequest) => void {
  const server = new WebSocketServer(WS_OPTIONS);
  const listed = new Set(origins);
  const isAllowed = (origin: string, own: Host) => listed.has(origin) || isOwnOrigin(origin, own);
  return (upgrade) => {
    const { request, socket, head, peer } = upgrade;
    const { headers } = request;
    // `ws` accepts the version of 2011 too, which had a header of its own.
    const origin = headers.origin ?? headers["sec-websocket-origin"];
    if (pathOf(request) !== path) {
      refuseUpgrade(socket, 404, `there is no WebSocket at this path: this server's is at ${path}`);
      return;
    }
    const own = { host: headers.host, isEncrypted: peer.isEncrypted };
    if (origin !== undefined && !isAllowed(String(origin), own)) {
      const what = "the origin of this page is neither the server's own nor in webSocket.origins";
      refuseUpgrade(socket, 403, what);
      return;
    }
    if (!protocolsOf(request).includes(SUBPROTOCOL)) {
      refuseUpgrade(socket, 400, `this WebSocket has one subprotocol: ${SUBPROTOCOL}`);
      return;
    }
    server.handleUpgrade(request, socket, head, (webSocket) => {
      const init = { socket, clock: realClock, abuseBudget };
      onWebSocket(new WebSocketPipe(webSocket, init), upgrade);
    });
  };
}

function pathOf({ url = "" }: IncomingMessage): string {
  return url.split("?", 1)[0] as string;
}

function protocolsOf({ headers }: IncomingMessage): string[] {
  return (headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim());
}
