/** HTTP/1.1, by node:http and Connect's adapter. */
import * as http from "node:http";
import type { Socket } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { Peer } from "../caller.ts";
import type { ConnectionMemory } from "../connection/connection-memory.ts";
import { bodyKind } from "../connection/message-meter.ts";
import { CallValues } from "../grpc/caller.ts";
import { rawToHeaders } from "../grpc/metadata.ts";
import { ServerConnectionObservation } from "../observe/connections.ts";
import type { ServerObserver } from "../observe/events.ts";
import type { Notifier } from "../observe/notifier.ts";
import { type ConnectRoutes, isRpc } from "../server/connect-handlers.ts";
import type { PreflightAnswer } from "../server/cors.ts";
import type { Fallback } from "../server/fallback.ts";
import { isOfApplication } from "../server/own-services.ts";
import { HeadersWatch, type Http1Options, KEEP_ALIVE_MS, watchBody } from "./http1-deadlines.ts";
import { type Http1Call, Http1Exchange } from "./http1-exchange.ts";
import { type OnFallbackError, serveHttp1Fallback } from "./http1-fallback.ts";
import type { Http1Memory } from "./http1-memory.ts";
import { asksForWebSocket, refuseUpgrade, type UpgradeRequest } from "./http1-upgrade.ts";
import type { NodeFallback } from "./node-fallback.ts";
import { RequestTurns } from "./request-turns.ts";
import { peerOf } from "./socket-peer.ts";

/** The HTTP/1.1 side of a server. */
export interface Http1Server {
  accept(socket: Socket): void;
  /** Answers further requests with 503, and closes the connections that are idle. */
  refuse(): void;
  /** Closes all connections. */
  close(): void;
  /** The number of requests whose responses are not complete, but for calls of the server's own services. */
  readonly open: number;
}

/** The parts of its server that the HTTP/1.1 side uses. */
export interface Http1Init {
  readonly times: Required<Http1Options>;
  readonly memory: Http1Memory;
  /** Undefined if the server has no observer. */
  readonly notifier: Notifier<ServerObserver> | undefined;
  /** Called when a request is no longer open. */
  onClosed(): void;
  /** Called with an error that is neither the client's nor reported by connectOptions(): HTTP does not allow a header. */
  onError(error: unknown, method: DescMethod): void;
  /** Serves what is no RPC. `undefined`: that is answered with 404. */
  readonly fallback: Fallback | NodeFallback | undefined;
  readonly onFallbackError: OnFallbackError;
  /** Called with a request to open a WebSocket. `undefined`: requests to upgrade are served as if they did not ask for it. */
  readonly onUpgrade: ((upgrade: UpgradeRequest) => void) | undefined;
}

export function createHttp1Server(routes: ConnectRoutes, init: Http1Init): Http1Server {
  const { times, memory, notifier, onClosed, onUpgrade } = init;
  const peers = new WeakMap<Socket, Peer>();
  const peerAt = (socket: Socket) => peers.get(socket) ?? peerOf(socket);
  let open = 0;
  let isRefusing = false;
  const headers = new HeadersWatch(times.headersTimeoutMs);
  const turns = new RequestTurns();
  const observations = new WeakMap<Socket, ServerConnectionObservation>();
  const server = http.createServer(
    {
      // On a server without a port node:http does not enforce the first two, and Bun none. The whole of a request may take
      // any time; a body is watched for silence.
      ...{ headersTimeout: 0, requestTimeout: 0, keepAliveTimeout: KEEP_ALIVE_MS },
      // Node has it since 24.9: older ones report every upgrade, if any is taken.
      shouldUpgradeCallback: (request) => onUpgrade !== undefined && asksForWebSocket(request),
    },
    (request, response) => {
      const { socket } = request;
      open++;
      let isCounted = true;
      const uncount = () => {
        if (!isCounted) return;
        isCounted = false;
        open--;
        onClosed();
      };
      headers.onRequest(socket, response);
      request.once("error", () => {});
      response.once("close", () => {
        headers.onResponded(socket, response);
        uncount();
      });
      watchBody(request, response, {
        idleMs: times.bodyIdleMs,
        isNext: () => headers.isNext(socket, response),
      });
      const begin = () => {
        const held = memory.of(request);
        if (held?.admits === false) held.onRefused();
        if (isRefusing || held?.admits !== true) {
          answerEmpty(routes, { request, response }, 503);
          return;
        }
        takeOriginForm(request);
        if (!hasUrl(request)) {
          response.writeHead(400, { connection: "close" }).end();
          return;
        }
        serve(routes, { request, response, peer: peerAt(socket), memory: held, uncount }, init);
      };
      turns.add({ socket, response, serve: begin });
    },
  );
  if (onUpgrade !== undefined) {
    server.on("upgrade", (request, socket: Socket, head: Buffer) => {
      const isNext = headers.onUpgrade(socket);
      if (!isNext) socket.destroy();
      else if (!asksForWebSocket(request)) {
        refuseUpgrade(socket, 400, "there is no upgrade but to a WebSocket");
      } else {
        takeOriginForm(request);
        observations.get(socket)?.onClosed("closed", "it became a WebSocket");
        observations.delete(socket);
        onUpgrade({ request, socket, head, peer: peerAt(socket) });
      }
    });
  }
  // Deno closes a connection after each response if its server does not listen (denoland/deno issue 35609).
  Object.defineProperty(server, "listening", { value: true });
  return {
    accept(socket) {
      const peer = peerOf(socket);
      headers.onConnection(socket);
      memory.onConnection(socket, peer);
      peers.set(socket, peer);
      if (notifier !== undefined) {
        const connection = { protocol: "http/1.1", peer } as const;
        observations.set(socket, new ServerConnectionObservation(notifier, connection));
        socket.once("close", (hadError) => {
          observations.get(socket)?.onClosed(hadError ? "lost" : "closed", "");
        });
      }
      server.emit("connection", socket);
      socket.resume();
    },
    refuse() {
      isRefusing = true;
      server.closeIdleConnections();
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
    get open() {
      return open;
    },
  };
}

/** A request, its response, and who they count for. */
interface Exchange extends Http1Call {
  readonly peer: Peer;
  readonly memory: ConnectionMemory;
  /** The request is not counted as open from now on. */
  uncount(): void;
}

function serve(
  routes: ConnectRoutes,
  { request, response, peer, memory, uncount }: Exchange,
  { fallback, onError, onFallbackError }: Http1Init,
): void {
  const { handlers, cors } = routes;
  const call = { request, response };
  const [path = ""] = (request.url ?? "").split("?", 1);
  const handler = handlers.get(path);
  if (handler === undefined) {
    new Http1Exchange(call, { memory, kind: "stream" });
    const isServed = fallback !== undefined && !isRpc(request.headers["content-type"]);
    if (isServed) serveHttp1Fallback(fallback, call, onFallbackError);
    else answerEmpty(routes, call, 404);
    return;
  }
  if (!isOfApplication(handler.method)) uncount();
  // node:http checks it. Connect's handlers would take memory for as many bytes as are only announced.
  delete request.headers["content-length"];
  new Http1Exchange(call, { memory, kind: bodyKind(request.headers["content-type"]) });
  const values = new CallValues({ identity: undefined, peer });
  const universal = universalRequestFromNodeRequest(request, response, undefined, values);
  const preflight = cors?.preflight(universal.method, universal.header);
  if (preflight !== undefined) {
    answerPreflight(response, preflight);
    return;
  }
  const answer = async () => {
    const answer = await handler(universal);
    if (cors === undefined) return answer;
    // When it is read: a handler may set headers until its first response.
    return {
      ...answer,
      get header() {
        return cors.withHeaders(universal.header, new Headers(answer.header));
      },
    };
  };
  answer()
    .then((answer) => universalResponseToNodeResponse(answer, response))
    .catch((error) => {
      // The client has left, or its connection was closed.
      if (universal.signal.aborted || ConnectError.from(error).code === Code.Aborted) return;
      onError(error, handler.method);
      response.destroy();
    });
}

/** Answers with a status, which pages of other hosts may read too. After 503 the connection is closed. */
function answerEmpty(
  { cors }: ConnectRoutes,
  { request, response }: Http1Call,
  status: 404 | 503,
): void {
  const header = rawToHeaders(request.rawHeaders);
  const preflight = cors?.preflight(request.method ?? "", header);
  if (preflight !== undefined) {
    answerPreflight(response, preflight);
    return;
  }
  const allowed = Object.fromEntries(cors?.withHeaders(header, new Headers()) ?? []);
  const closing = status === 503 ? { connection: "close" } : {};
  response.writeHead(status, { ...closing, ...allowed }).end();
}

function answerPreflight(
  response: http.ServerResponse,
  { status, header, text }: PreflightAnswer,
): void {
  response.writeHead(status, Object.fromEntries(header)).end(text);
}

/** Leaves only path and query of a URL. A server must accept URLs, although clients send them to proxies (RFC 9112, 3.2.2). */
function takeOriginForm(request: http.IncomingMessage): void {
  const [, path] = /^https?:\/\/[^/?#]*(.*)$/i.exec(request.url ?? "") ?? [];
  if (path !== undefined) request.url = path.startsWith("/") ? path : `/${path}`;
}

/**
 * Whether a request names its host, as HTTP/1.0 need not, and its URL is valid: Connect would throw otherwise. Anything but a
 * path, as the "*" of OPTIONS, would become a part of the host.
 */
function hasUrl({ headers, url = "" }: http.IncomingMessage): boolean {
  const { host } = headers;
  return host !== undefined && url.startsWith("/") && URL.canParse(url, `http://${host}`);
}
