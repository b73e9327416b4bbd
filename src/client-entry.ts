/** What the client entries for Node (index.ts) and for browsers (web.ts) have in common. */
export type { MessageInitShape } from "@bufbuild/protobuf";
export type {
  ContextValues,
  HandlerContext,
  Interceptor,
  ServiceImpl,
  StreamRequest,
  StreamResponse,
  Transport,
  UnaryRequest,
  UnaryResponse,
} from "@connectrpc/connect";
export {
  Code,
  ConnectError,
  createContextKey,
  createContextValues,
  decodeBinaryHeader,
  encodeBinaryHeader,
} from "@connectrpc/connect";
export type { CallState } from "./client/call-lifecycle.ts";
export type { CallOptions } from "./client/call-options.ts";
export {
  type BidirectionalCall,
  type Client,
  type ClientStreamingCall,
  createClient,
  type ServerStreamingCall,
  type UnaryCall,
} from "./client/create-client.ts";
export type { SessionsOption, SessionWindowOptions } from "./client/session-option.ts";
export type { Duplex, ServerStream, Sink } from "./client/streaming-call.ts";
export type { KeepaliveOptions } from "./connection/keepalive.ts";
export type { CallHeaders } from "./grpc/call-headers.ts";
export type {
  CallEnd,
  ClientCallEnd,
  ClientCallObserver,
  ClientObserver,
  CloseReason,
  MessageCount,
  ObservedCall,
  ObservedClientCall,
  ObservedClientConnection,
} from "./observe/events.ts";
export type { Logger } from "./observe/logger.ts";
export type { CallStats, SessionStats } from "./observe/stats.ts";
export { Reason as SessionLostReason, readSessionLost } from "./session/lost.ts";
export type { ClosableTransport, TransportStats } from "./transport/transport-options.ts";
