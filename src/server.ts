/** The server entry of Hawser: `import { createServer } from "hawser/server"`. */
export type { MessageInitShape } from "@bufbuild/protobuf";
export type {
  ConnectRouter,
  HandlerContext,
  Interceptor,
  MethodImpl,
  ServiceImpl,
} from "@connectrpc/connect";
export {
  Code,
  ConnectError,
  createContextKey,
  createContextValues,
  decodeBinaryHeader,
  encodeBinaryHeader,
} from "@connectrpc/connect";
export { later } from "./flow.ts";
export { holdHeaders, sendHeaders } from "./grpc/context.ts";
export { encodedOnce } from "./grpc/encoded-once.ts";
export type { KeepaliveOptions } from "./grpc/keepalive.ts";
export type { SessionCaller, SessionOptions } from "./grpc/server-sessions.ts";
export type { Logger } from "./logger.ts";
export { createServer, type Server } from "./server/create-server.ts";
export type {
  Address,
  CloseOptions,
  ListenOptions,
  ServerOptions,
  TlsOptions,
} from "./server/options.ts";
export { Reason as SessionLostReason, readSessionLost } from "./session/lost.ts";
export type { HubEvent, SubscribeOptions, Subscription } from "./topics/hub/subscription.ts";
export { type AnnounceOptions, createHub, type Hub, type HubOptions } from "./topics/hub.ts";
export type {
  Appended,
  Entry,
  Gap,
  Item,
  Mark,
  NewRecord,
  PageLimits,
  Retention,
  TopicLog,
} from "./topics/log.ts";
export { type MemoryLogOptions, memoryLog } from "./topics/memory.ts";
