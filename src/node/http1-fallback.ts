/** Serves what is no RPC over HTTP/1.1: by a fallback, or by a program for Node's own requests and responses. */
import type { ServerResponse } from "node:http";
import { TLSSocket } from "node:tls";
import { isThenable } from "../grpc/invoke.ts";
import { rawToHeaders } from "../grpc/metadata.ts";
import { type Fallback, type FallbackExchange, serveFallback } from "../server/fallback.ts";
import type { Http1Call } from "./http1-exchange.ts";
import { NodeFallback } from "./node-fallback.ts";

/** Headers of a connection, which node:http sets itself. */
const OF_CONNECTIONS = new Set([
  ...["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"],
]);

/** Called with what a fallback throws. */
export type OnFallbackError = (
  error: unknown,
  request: { readonly method: string; readonly path: string },
) => void;

export function serveHttp1Fallback(
  fallback: Fallback | NodeFallback,
  exchange: Http1Call,
  onError: OnFallbackError,
): void {
  const { request, response } = exchange;
  const { method = "", url = "" } = request;
  const [path = ""] = url.split("?", 1);
  const report = (error: unknown) => onError(error, { method, path });
  // The client has left: the exchange says so.
  response.on("error", () => {});
  if (fallback instanceof NodeFallback) runApp(fallback, exchange, report);
  else serveFallback(fallback, fallbackExchange(exchange), report);
}

function runApp(
  { app }: NodeFallback,
  { request, response }: Http1Call,
  report: (error: unknown) => void,
): void {
  const fail = (error: unknown) => {
    if (response.destroyed) return;
    report(error);
    if (response.headersSent) response.destroy();
    else response.writeHead(500, { "content-length": 0 }).end();
  };
  try {
    const result: unknown = app(request, response);
    if (isThenable(result)) Promise.resolve(result).then(undefined, fail);
  } catch (error) {
    fail(error);
  }
}

function fallbackExchange({ request, response }: Http1Call): FallbackExchange {
  const { method = "", url = "", headers, socket } = request;
  const scheme = socket instanceof TLSSocket ? "https" : "http";
  const leaving = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) leaving.abort();
  });
  const { signal } = leaving;
  return {
    ...{ method, url: `${scheme}://${headers.host}${url}`, signal },
    header: rawToHeaders(request.rawHeaders),
    body: request.iterator({ destroyOnReturn: false }),
    async sendHeaders(status, header) {
      if (!response.destroyed) response.writeHead(status, fieldsOf(header));
    },
    write(bytes) {
      signal.throwIfAborted();
      return response.write(bytes) ? undefined : drained(response);
    },
    end: () => void response.end(),
    fail: () => void response.destroy(),
  };
}

function fieldsOf(header: Headers): string[] {
  const own = [...header].filter(([name]) => !OF_CONNECTIONS.has(name));
  return own.flat();
}

/** Resolves when a response takes more. Rejects if its client leaves. */
function drained(response: ServerResponse): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onDrain = () => {
    response.off("close", onClose);
    resolve();
  };
  const onClose = () => {
    response.off("drain", onDrain);
    reject(new Error("the client has left"));
  };
  response.once("drain", onDrain);
  response.once("close", onClose);
  return promise;
}
