import type { HttpExchange } from "../connection/http-exchange.ts";
import type { ServerRequest } from "../connection/server-request.ts";
import { toWire } from "../failure.ts";
import { toHeaders } from "../grpc/metadata.ts";
import type { Parties } from "../sharing/parties.ts";
import { overLimit } from "../sharing/refusal.ts";
import type { Callers } from "./callers.ts";
import { urlOf } from "./connect-handlers.ts";
import { type Fallback, type FallbackExchange, serveFallback } from "./fallback.ts";

/** The parts of its server that FallbackRequests uses. */
export interface FallbackServer {
  readonly callers: Callers;
  readonly parties: Parties;
  /** Called with what the fallback throws. */
  onError(error: unknown, request: { readonly method: string; readonly path: string }): void;
  /** Called when a request is no longer open. */
  onClosed(): void;
}

/** The requests over HTTP/2 that a fallback serves. They count as open calls of the clients that they come from. */
export class FallbackRequests {
  readonly #fallback: Fallback;
  readonly #server: FallbackServer;
  /** The number of requests whose streams are not closed. */
  open = 0;

  constructor(fallback: Fallback, server: FallbackServer) {
    this.#fallback = fallback;
    this.#server = server;
  }

  serve(request: ServerRequest): void {
    const { callers, parties, onError } = this.#server;
    const { connection } = request;
    const url = urlOf(request);
    if (url === undefined) {
      request.answer({ ":status": 400 });
      return;
    }
    const header = toHeaders(request.headers);
    const party = parties.of(connection, callers.clientOf(connection.caller, header));
    if (!request.countFor(party)) {
      request.refuse();
      return;
    }
    if (!party.beginCall()) {
      const { metadata } = overLimit(party.caller, "calls", Math.random);
      const seconds = Math.ceil(Number(metadata.get("grpc-retry-pushback-ms")) / 1000);
      request.answer({ ":status": 503, "retry-after": String(seconds) });
      return;
    }
    this.open++;
    const exchange = request.openExchange("stream");
    exchange.onEnded = () => {
      party.endCall();
      this.open--;
      this.#server.onClosed();
    };
    if (/^100-continue$/i.test(header.get("expect") ?? "")) exchange.sendContinue();
    const method = String(request.headers[":method"]);
    const [path = ""] = String(request.headers[":path"]).split("?", 1);
    serveFallback(
      this.#fallback,
      { ...{ method, url, header, body: exchange.body }, ...wayOf(exchange) },
      (error) => onError(error, { method, path }),
    );
  }
}

/** The way of a response over HTTP/2. */
function wayOf(
  exchange: HttpExchange,
): Pick<FallbackExchange, "signal" | "sendHeaders" | "write" | "end" | "fail"> {
  return {
    signal: exchange.signal,
    async sendHeaders(status, header) {
      if (!header.has("date")) header.set("date", new Date().toUTCString());
      await exchange.sendHeaders(status, header);
    },
    write: (bytes) => exchange.write(bytes),
    end: () => exchange.end(undefined),
    fail: (error) => exchange.fail(toWire(error)),
  };
}
