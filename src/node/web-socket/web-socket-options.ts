import { type Checks, matching } from "../../options.ts";
import { originsCheck } from "../../server/origins.ts";

/** The WebSocket of a server, in which browsers make calls. */
export interface WebSocketOptions {
  /** The path of its URL. Default: "/hawser". */
  path?: string;
  /**
   * Further origins whose pages may connect: "https://app.example.com". Those of the server's own host may always, and so may
   * clients that send no origin, which are no browsers. Default: none.
   */
  origins?: string[];
}

export const webSocketChecks = {
  path: matching(/^\/[^\s?#]*$/, 'a path that begins with "/"'),
  origins: originsCheck,
} satisfies Checks<WebSocketOptions>;

/** The subprotocol (RFC 6455, 1.9): HTTP/2 in binary messages. */
export const SUBPROTOCOL = "hawser.h2.v1";

/** What decides which WebSockets are opened. */
export interface UpgradeSettings extends Required<WebSocketOptions> {
  /** The option `abuse` of the server. */
  readonly abuseBudget: number;
}
