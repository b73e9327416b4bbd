/**
 * The requests of HTTP/2 that are not gRPC with protobuf, served by Connect's handlers: Connect, gRPC-Web, and gRPC with
 * JSON. They work over anything that an engine runs on.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import { type ConnectError, createConnectRouter } from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import type { Caller } from "../caller.ts";
import type { HttpExchange } from "../connection/http-exchange.ts";
import { bodyKind } from "../connection/message-meter.ts";
import type { ServerRequest } from "../connection/server-request.ts";
import { toWire } from "../failure.ts";
import { CallValues } from "../grpc/caller.ts";
import { toHeaders } from "../grpc/metadata.ts";
import type { Parties, Party } from "../sharing/parties.ts";
import { overLimit } from "../sharing/refusal.ts";
import type { Callers } from "./callers.ts";
import type { ConnectOptions } from "./connect-options.ts";
import type { Cors, PreflightAnswer } from "./cors.ts";
import { callLimitOf, isOfApplication } from "./own-services.ts";

/** Connect's handlers, by path, with what pages of other hosts may do. They serve requests of any version of HTTP. */
export interface ConnectRoutes {
  readonly handlers: ReadonlyMap<string, UniversalHandler>;
  /** Undefined: pages of other hosts may make no calls. */
  readonly cors: Cors | undefined;
}

export function connectRoutes(options: ConnectOptions, cors: Cors | undefined): ConnectRoutes {
  const router = createConnectRouter(options);
  options.routes(router);
  const handlers = router.handlers.map((handler) => [handler.requestPath, handler] as const);
  return { handlers: new Map(handlers), cors };
}

/** Whether a request is an RPC by its body, also if no method has its path. */
export function isRpc(contentType: unknown): boolean {
  return bodyKind(String(contentType)) === "messages";
}

/** Serves the requests of HTTP/2 that are not gRPC with protobuf. */
export interface ConnectHandlers {
  /** Serves a request, or answers it: 404 if no method has its path, 431 if it has too many headers; and above limits. */
  serve(request: ServerRequest): void;
  /** Answers 503: the server closes. */
  refuse(request: ServerRequest): void;
  /** The number of the application's requests whose streams are not closed. */
  readonly open: number;
}

/** The parts of its server that Connect's handlers use. */
export interface ConnectListener {
  readonly callers: Callers;
  readonly parties: Parties;
  /** Serves a request that is no RPC. `undefined`: it is answered with 404. */
  readonly serveOther: ((request: ServerRequest) => void) | undefined;
  /** Called when a request is no longer open. */
  onClosed(): void;
  /** Called with an error that is neither the client's nor reported by connectOptions(): HTTP/2 does not allow a header. */
  onError(error: unknown, method: DescMethod): void;
}

export function createConnectHandlers(
  { handlers, cors }: ConnectRoutes,
  { callers, parties, serveOther, onClosed, onError }: ConnectListener,
): ConnectHandlers {
  let open = 0;
  // Pages of other hosts may read these too.
  const answer = (request: ServerRequest, status: number) => {
    const header = cors?.withHeaders(toHeaders(request.headers), new Headers()) ?? [];
    const date = new Date().toUTCString();
    request.answer({ ":status": status, date, ...Object.fromEntries(header) });
  };
  const preflightOf = (request: ServerRequest, header: Headers) =>
    cors?.preflight(String(request.headers[":method"]), header);
  const answerOrPreflight = (request: ServerRequest, status: number) => {
    const preflight = cors && preflightOf(request, toHeaders(request.headers));
    if (preflight === undefined) answer(request, status);
    else answerPreflight(request, preflight);
  };
  return {
    serve(request) {
      if (request.hasTooManyFields) {
        answer(request, 431);
        return;
      }
      const [path = ""] = String(request.headers[":path"]).split("?", 1);
      const handler = handlers.get(path);
      const url = urlOf(request);
      if (handler === undefined) {
        const isServed = serveOther !== undefined && !isRpc(request.headers["content-type"]);
        if (isServed) serveOther(request);
        else answerOrPreflight(request, 404);
        return;
      }
      if (url === undefined) {
        answer(request, 400);
        return;
      }
      const { connection } = request;
      const header = toHeaders(request.headers);
      // The engine checks it. Connect's handlers would take memory for as many bytes as are only announced.
      header.delete("content-length");
      const preflight = preflightOf(request, header);
      if (preflight !== undefined) {
        answerPreflight(request, preflight);
        return;
      }
      let party: Party | undefined = parties.of(
        connection,
        callers.clientOf(connection.caller, header),
      );
      if (!request.countFor(party)) {
        request.refuse();
        return;
      }
      const limit = callLimitOf(handler.method);
      let refusal: ConnectError | undefined;
      if (!party.beginCall(limit)) {
        refusal = overLimit(party.caller, limit, Math.random);
        party = undefined;
      }
      // Connect authenticates later. Until then the call counts for its client, whoever it is.
      const onIdentified = (caller: Caller) => {
        if (party === undefined) return;
        const identified = parties.of(connection, caller);
        if (identified === party) return;
        party.endCall(limit);
        party = identified.beginCall(limit) ? identified : undefined;
        if (party === undefined) {
          throw overLimit(identified.caller, limit, Math.random);
        }
      };
      const counts = isOfApplication(handler.method);
      if (counts) open++;
      const exchange = request.openExchange(bodyKind(String(request.headers["content-type"])));
      exchange.onEnded = () => {
        party?.endCall(limit);
        party = undefined;
        if (!counts) return;
        open--;
        onClosed();
      };
      if (/^100-continue$/i.test(String(request.headers.expect))) exchange.sendContinue();
      const contextValues = new CallValues(connection.caller, { refusal, onIdentified });
      const universal = universalRequest(request, exchange, { url, header, contextValues });
      const withCors = (response: Headers) => cors?.withHeaders(header, response) ?? response;
      call(handler, universal, { exchange, withCors }).catch((error) => {
        if (exchange.signal.aborted) return;
        onError(error, handler.method);
        exchange.fail(toWire(error));
      });
    },
    refuse(request) {
      request.connection.drain();
      answerOrPreflight(request, 503);
    },
    get open() {
      return open;
    },
  };
}

async function answerPreflight(
  request: ServerRequest,
  { status, header, text }: PreflightAnswer,
): Promise<void> {
  const exchange = request.openExchange("message");
  await exchange.sendHeaders(status, header);
  if (exchange.signal.aborted) return;
  if (text !== "") exchange.write(new TextEncoder().encode(text));
  exchange.end(undefined);
}

/**
 * The URL of a request, if its authority is valid, and its path begins with a slash: anything else, as the "*" of OPTIONS, would
 * become a part of the host.
 */
export function urlOf({ headers, connection }: ServerRequest): string | undefined {
  const authority = headers[":authority"] ?? headers.host;
  const path = String(headers[":path"]);
  const base = `${connection.isEncrypted ? "https" : "http"}://${authority}`;
  const isValid = authority !== undefined && URL.canParse(base) && path.startsWith("/");
  return isValid ? `${base}${path}` : undefined;
}

function universalRequest(
  { headers }: ServerRequest,
  { body, signal }: HttpExchange,
  more: Pick<UniversalServerRequest, "url" | "header" | "contextValues">,
): UniversalServerRequest {
  return { ...{ httpVersion: "2.0", method: String(headers[":method"]), body, signal }, ...more };
}

/** The way of a response. */
interface Answer {
  readonly exchange: HttpExchange;
  /** Adds what lets pages of other hosts read a response. */
  readonly withCors: (response: Headers) => Headers;
}

async function call(
  handler: UniversalHandler,
  request: UniversalServerRequest,
  answer: Answer,
): Promise<void> {
  const response = await handler(request);
  const chunks = response.body?.[Symbol.asyncIterator]();
  try {
    await respond(response, chunks, answer);
  } finally {
    await chunks?.return?.(undefined);
  }
}

async function respond(
  { status, header, trailer }: UniversalServerResponse,
  chunks: AsyncIterator<Uint8Array> | undefined,
  { exchange, withCors }: Answer,
): Promise<void> {
  // Before the headers: a handler may set some of them until its first response.
  let next = await chunks?.next();
  const headers = withCors(new Headers(header));
  if (!headers.has("date")) headers.set("date", new Date().toUTCString());
  await exchange.sendHeaders(status, headers);
  while (next !== undefined && next.done !== true) {
    await exchange.write(next.value);
    next = await chunks?.next();
  }
  exchange.end(trailer);
}
