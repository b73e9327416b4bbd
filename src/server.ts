/** The server entry of Hawser: `import { createServer } from "hawser/server"`. */
import "./node/runtime.ts";

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
export type { Caller, Peer, PeerCertificate } from "./caller.ts";
export { encodedOnce } from "./codec/encoded-once.ts";
export type { KeepaliveOptions } from "./connection/keepalive.ts";
export { later } from "./flow/later.ts";
export { caller } from "./grpc/caller.ts";
export { holdHeaders, sendHeaders } from "./grpc/context.ts";
export { createServer } from "./node/create-server.ts";
export type { Http1Options } from "./node/http1-deadlines.ts";
export type { CloseOptions, ListenOptions, ServerAddress } from "./node/listen-options.ts";
export { type NodeApp, type NodeFallback, nodeFallback } from "./node/node-fallback.ts";
export type { Server } from "./node/server.ts";
export type { ServerCertificate, ServerOptions, TlsOptions } from "./node/server-options.ts";
export type { ServerStats } from "./node/server-stats.ts";
export type { WebSocketOptions } from "./node/web-socket/web-socket-options.ts";
export type {
  CallEnd,
  CloseReason,
  MessageCount,
  ObservedCall,
  ObservedServerCall,
  ObservedServerConnection,
  ServerCallEnd,
  ServerCallObserver,
  ServerObserver,
} from "./observe/events.ts";
export type { Logger } from "./observe/logger.ts";
export type { CallStats, LimitStats, SessionStats } from "./observe/stats.ts";
export type { AdmissionRequest, Admit } from "./server/admission.ts";
export type { Authenticate, Authentication, AuthenticationRequest } from "./server/authenticate.ts";
export type { CorsOptions } from "./server/cors.ts";
export { type DuplexCall, duplex } from "./server/duplex.ts";
export type { HealthStatus, ServerHealth } from "./server/health.ts";
export type { ServerLogger } from "./server/reporter.ts";
export type { SessionOptions } from "./server/server-sessions.ts";
export { Reason as SessionLostReason, readSessionLost } from "./session/lost.ts";
export {
  type CallerLimit,
  type CallerLimitOptions,
  createCallerLimit,
} from "./sharing/caller-limit.ts";
