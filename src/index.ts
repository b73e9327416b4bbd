/** The client entry of Hawser: `import { createClient, createTransport } from "hawser"`. */
import "./node/runtime.ts";

export * from "./client-entry.ts";
export type { ClientTls } from "./node/tls.ts";
export { createTransport } from "./node/transport.ts";
export type { TransportOptions } from "./node/transport-options.ts";
