import { parseTargets, WEB_FORMS } from "../connection/address.ts";
import { createOutputBuffers } from "../http2/buffers.ts";
import { type Checks, checkOptions, matching, optionsOf } from "../options.ts";
import { makeTransport } from "../transport/make-transport.ts";
import {
  type ClosableTransport,
  type CommonTransportOptions,
  commonChecks,
} from "../transport/transport-options.ts";
import { connectBy } from "./connect.ts";
import { webGzip } from "./gzip.ts";
import { onNetwork } from "./page-events.ts";

const HERE = "createTransport";

/** Where a server takes WebSockets. */
export interface WebSocketOptions {
  /** The path of the server's option of the same name. Default: "/hawser". */
  path?: string;
}

export interface TransportOptions extends CommonTransportOptions {
  /**
   * `http://host:port` or `https://host:port`, as `location.origin` is. Several, in order, are servers that can stand in for
   * each other: if one cannot be reached, or drains, calls use the next. All have TLS, or none. A path, as in
   * `https://host/api`, stands before the path of the WebSocket: for a proxy that removes it.
   */
  baseUrl: string | readonly string[];
  /** Where the server takes WebSockets. */
  webSocket?: WebSocketOptions;
}

const checks = {
  ...commonChecks,
  webSocket: optionsOf<WebSocketOptions>({ path: matching(/^\//, "a path that begins with /") }),
} satisfies Checks<TransportOptions>;

/**
 * Makes a transport for a page, or a worker of one: the calls to a server share one WebSocket, in both directions, or
 * several if the server allows no more calls on one. Nothing is connected before the first call. When the machine is
 * online again, or the page is visible again or returns from the back/forward cache, what waits connects at once. Throws
 * INVALID_ARGUMENT, which names the option and its value, if an option is unknown or not valid.
 */
export function createTransport(options: TransportOptions): ClosableTransport {
  checkOptions(HERE, options, checks);
  const path = options.webSocket?.path ?? "/hawser";
  return makeTransport(options, {
    targets: parseTargets(options.baseUrl, WEB_FORMS),
    // The proxy in front of the server has removed the path when the requests arrive.
    pathPrefix: "",
    compression: webGzip,
    buffers: createOutputBuffers(),
    connectBy: (connectOptions) => connectBy({ ...connectOptions, path }),
    onNetwork,
    asksEarly: true,
  });
}
