// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export interface BidirectionalCall<I extends DescMessage, O extends DescMessage> {
    (options?: CallOptions): Duplex<Req<I>, Res<O>>;
    (requests: AsyncIterable<Req<I>>, options?: CallOptions): ServerStream<Res<O>>;
}

export type CallHeaders = HeadersInit | HeadersFunction;

export interface CallOptions extends Omit<ConnectCallOptions, "headers"> {
    headers?: CallHeaders;
    compress?: boolean;
    sessions?: SessionsOption;
}

export type CallState = "connecting" | "open" | "resuming" | "closed";

export type Client<Desc extends DescService> = {
    [P in keyof Desc["method"]]: Desc["method"][P] extends DescMethodUnary<infer I, infer O> ? UnaryCall<I, O> : Desc["method"][P] extends DescMethodServerStreaming<infer I, infer O> ? ServerStreamingCall<I, O> : Desc["method"][P] extends DescMethodClientStreaming<infer I, infer O> ? ClientStreamingCall<I, O> : Desc["method"][P] extends DescMethodBiDiStreaming<infer I, infer O> ? BidirectionalCall<I, O> : never;
};

export interface ClientStreamingCall<I extends DescMessage, O extends DescMessage> {
    (options?: CallOptions): Sink<Req<I>, Res<O>>;
    (requests: AsyncIterable<Req<I>>, options?: CallOptions): Promise<Res<O>>;
}

export interface ClientTls {
    ca?: string | Buffer | (string | Buffer)[];
    cert?: string | Buffer;
    key?: string | Buffer;
    serverName?: string;
    rejectUnauthorized?: boolean;
}

export interface ClosableTransport extends Transport, AsyncDisposable {
    readonly timeoutMs: number | undefined;
    close(): Promise<void>;
}

export { Code } from "@connectrpc/connect";

export { ConnectError } from "@connectrpc/connect";

export { ContextValues } from "@connectrpc/connect";

export interface Duplex<Req, Res> extends Ongoing, AsyncIterable<Res> {
    send(message: Req): Promise<void>;
    closeSend(): void;
}

export { HandlerContext } from "@connectrpc/connect";

export { Interceptor } from "@connectrpc/connect";

export interface KeepaliveOptions {
    intervalMs?: number;
    timeoutMs?: number;
}

export interface Logger {
    error(message: string, ...details: unknown[]): void;
    warn(message: string, ...details: unknown[]): void;
}

export { MessageInitShape } from "@bufbuild/protobuf";

export interface ServerStream<Res> extends Ongoing, AsyncIterable<Res> {
}

export type ServerStreamingCall<I extends DescMessage, O extends DescMessage> = (request: Req<I>, options?: CallOptions) => ServerStream<Res<O>>;

export { ServiceImpl } from "@connectrpc/connect";

export { SessionLost_Reason as SessionLostReason } from "gen/hawser/v1/session_pb.d.ts";

export interface SessionWindowOptions {
    windowBytes?: number;
    windowMessages?: number;
}

export type SessionsOption = boolean | "required" | SessionWindowOptions;

export interface Sink<Req, Res> extends Ongoing {
    send(message: Req): Promise<void>;
    finish(): Promise<Res>;
}

export { StreamRequest } from "@connectrpc/connect";

export { StreamResponse } from "@connectrpc/connect";

export { Transport } from "@connectrpc/connect";

export interface TransportOptions {
    baseUrl: string | readonly string[];
    timeoutMs?: number;
    connectTimeoutMs?: number;
    keepalive?: KeepaliveOptions;
    headers?: CallHeaders;
    interceptors?: Interceptor[];
    sendCompression?: "gzip" | "identity";
    compressMinBytes?: number;
    acceptCompression?: boolean;
    readMaxBytes?: number;
    writeMaxBytes?: number;
    binaryOptions?: Partial<BinaryReadOptions & BinaryWriteOptions>;
    tls?: ClientTls;
    sessions?: SessionsOption;
    logger?: Pick<Logger, "warn">;
}

export type UnaryCall<I extends DescMessage, O extends DescMessage> = (request: Req<I>, options?: CallOptions) => Promise<Res<O>>;

export { UnaryRequest } from "@connectrpc/connect";

export { UnaryResponse } from "@connectrpc/connect";

export declare function createClient<Desc extends DescService>(service: Desc, transport: Transport): Client<Desc>;

export { createContextKey } from "@connectrpc/connect";

export { createContextValues } from "@connectrpc/connect";

export declare function createTransport(options: TransportOptions): ClosableTransport;

export { decodeBinaryHeader } from "@connectrpc/connect";

export { encodeBinaryHeader } from "@connectrpc/connect";

export declare function readSessionLost(error: unknown): SessionLost | undefined;

// Types that these mention, and that cannot be imported.

type HeadersFunction = () => HeadersInit | Promise<HeadersInit>;

interface Ongoing extends AsyncDisposable {
    readonly headers: Promise<Headers>;
    readonly trailers: Promise<Headers>;
    readonly state: CallState;
    readonly resumable: boolean;
    onState(listener: (state: CallState) => void): Disposable;
    cancel(reason?: unknown): void;
}

type Req<I extends DescMessage> = MessageInitShape<I>;

type Res<O extends DescMessage> = MessageShape<O>;
