import type { IncomingMessage, ServerResponse } from "node:http";
import { callable } from "../options.ts";

/** A program for requests and responses of node:http: an app of Express, Koa's `app.callback()`, a handler of Next.js. */
export type NodeApp = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A fallback that only HTTP/1.1 can reach. nodeFallback() makes it. */
export class NodeFallback {
  /** @internal */
  readonly app: NodeApp;

  /** @internal */
  constructor(app: NodeApp) {
    this.app = app;
  }
}

/**
 * Makes a `fallback` of an app of Express, or of any other program for requests and responses of node:http. These exist over
 * HTTP/1.1 alone: a client that makes such a request over HTTP/2 is asked to make it again over HTTP/1.1 (HTTP_1_1_REQUIRED),
 * as browsers do by themselves. Throws INVALID_ARGUMENT if `app` is not a function.
 *
 * @example createServer({ routes, fallback: nodeFallback(express().use(express.static("public"))) })
 */
export function nodeFallback(app: NodeApp): NodeFallback {
  callable(app, { of: "nodeFallback", option: "app" });
  return new NodeFallback(app);
}
