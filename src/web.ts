/** The client entry for browsers: `import { createClient, createTransport } from "hawser/web"`. */
import "./web/runtime.ts";

export * from "./client-entry.ts";
export { createTransport, type TransportOptions, type WebSocketOptions } from "./web/transport.ts";
