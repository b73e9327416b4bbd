/** The client entry of Hawser: `import { createClient, createTransport } from "hawser"`. */
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
export type { CallHeaders } from "./call-headers.ts";
export type { CallOptions } from "./call-options.ts";
export {
  type BidirectionalCall,
  type Client,
  type ClientStreamingCall,
  createClient,
  type ServerStreamingCall,
  type UnaryCall,
} from "./client/create-client.ts";
export type { CallState, Duplex, ServerStream, Sink } from "./client/streaming-call.ts";
export type { KeepaliveOptions } from "./grpc/keepalive.ts";
export type { ClientTls } from "./grpc/tls.ts";
export { createTransport } from "./grpc/transport.ts";
export type {
  ClosableTransport,
  SessionWindow,
  TransportOptions,
} from "./grpc/transport-options.ts";
export type { Logger } from "./logger.ts";
export { Reason as SessionLostReason, readSessionLost } from "./session/lost.ts";
