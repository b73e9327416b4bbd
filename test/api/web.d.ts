// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export interface BidirectionalCall<I extends DescMessage, O extends DescMessage> {
    (options?: CallOptions): Duplex<Req<I>, Res<O>>;
    (requests: AsyncIterable<Req<I>>, options?: CallOptions): ServerStream<Res<O>>;
}

export interface CallEnd {
    readonly error: ConnectError | undefined;
    readonly durationMs: number;
    readonly sent: MessageCount;
    readonly received: MessageCount;
    readonly resumes: number;
}

export type CallHeaders = HeadersInit | HeadersFunction;

export interface CallOptions extends Omit<ConnectCallOptions, "headers"> {
    headers?: CallHeaders;
    compress?: boolean;
    sessions?: SessionsOption;
}

export type CallState = "connecting" | "open" | "resuming" | "closed";

export interface CallStats {
    readonly open: number;
    readonly started: number;
    readonly succeeded: number;
    readonly failed: Readonly<Record<string, number>>;
}

export type Client<Desc extends DescService> = {
    [P in keyof Desc["method"]]: Desc["method"][P] extends DescMethodUnary<infer I, infer O> ? UnaryCall<I, O> : Desc["method"][P] extends DescMethodServerStreaming<infer I, infer O> ? ServerStreamingCall<I, O> : Desc["method"][P] extends DescMethodClientStreaming<infer I, infer O> ? ClientStreamingCall<I, O> : Desc["method"][P] extends DescMethodBiDiStreaming<infer I, infer O> ? BidirectionalCall<I, O> : never;
};

export interface ClientCallEnd extends CallEnd {
    readonly attempts: number;
    readonly openedMs: number | undefined;
}

export interface ClientCallObserver {
    readonly headers?: HeadersInit;
    ended?(end: ClientCallEnd): void;
}

export interface ClientObserver extends CallEvents<ObservedClientCall>, SessionEvents<ObservedClientCall>, ConnectionEvents<ObservedClientConnection> {
    callStarted?(call: ObservedClientCall): ClientCallObserver | undefined | void;
    retrying?(event: {
        readonly call: ObservedClientCall;
        readonly error: ConnectError;
        readonly waitMs: number;
    }): void;
    connectionFailed?(event: {
        readonly address: string;
        readonly error: ConnectError;
    }): void;
    stalled?(event: {
        readonly method: string;
        readonly waitsFor: "closeSend" | "trailers";
        readonly forMs: number;
    }): void;
}

export interface ClientStreamingCall<I extends DescMessage, O extends DescMessage> {
    (options?: CallOptions): Sink<Req<I>, Res<O>>;
    (requests: AsyncIterable<Req<I>>, options?: CallOptions): Promise<Res<O>>;
}

export interface ClosableTransport extends Transport, AsyncDisposable {
    readonly timeoutMs: number | undefined;
    stats(): TransportStats;
    close(): Promise<void>;
}

export type CloseReason = "closed" | "goaway" | "lost" | "failed" | "keepalive";

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
    info?(message: string, ...details: unknown[]): void;
    error(message: string, ...details: unknown[]): void;
    warn(message: string, ...details: unknown[]): void;
}

export interface MessageCount {
    readonly messages: number;
    readonly bytes: number | undefined;
}

export { MessageInitShape } from "@bufbuild/protobuf";

export interface ObservedCall {
    readonly method: DescMethod;
    readonly timeoutMs: number | undefined;
}

export interface ObservedClientCall extends ObservedCall {
    readonly target: string;
}

export interface ObservedClientConnection {
    readonly address: string;
}

export interface ServerStream<Res> extends Ongoing, AsyncIterable<Res> {
}

export type ServerStreamingCall<I extends DescMessage, O extends DescMessage> = (request: Req<I>, options?: CallOptions) => ServerStream<Res<O>>;

export { ServiceImpl } from "@connectrpc/connect";

export { SessionLost_Reason as SessionLostReason } from "gen/hawser/v1/session_pb.d.ts";

export interface SessionStats {
    readonly open: number;
    readonly detached: number;
}

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

export interface TransportOptions extends CommonTransportOptions {
    baseUrl: string | readonly string[];
    webSocket?: WebSocketOptions;
}

export interface TransportStats {
    readonly connections: number;
    readonly calls: CallStats & {
        readonly waiting: number;
    };
    readonly sessions: SessionStats;
    readonly unreadBytes: number;
}

export type UnaryCall<I extends DescMessage, O extends DescMessage> = (request: Req<I>, options?: CallOptions) => Promise<Res<O>>;

export { UnaryRequest } from "@connectrpc/connect";

export { UnaryResponse } from "@connectrpc/connect";

export interface WebSocketOptions {
    path?: string;
}

export declare function createClient<Desc extends DescService>(service: Desc, transport: Transport): Client<Desc>;

export { createContextKey } from "@connectrpc/connect";

export { createContextValues } from "@connectrpc/connect";

export declare function createTransport(options: TransportOptions): ClosableTransport;

export { decodeBinaryHeader } from "@connectrpc/connect";

export { encodeBinaryHeader } from "@connectrpc/connect";

export declare function readSessionLost(error: unknown): SessionLost | undefined;

// Types that these mention, and that cannot be imported.

interface CallEvents<Call> {
    deadlineExceeded?(event: {
        readonly call: Call;
        readonly timeoutMs: number;
    }): void;
}

interface CommonTransportOptions {
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
    sessions?: SessionsOption;
    logger?: Pick<Logger, "warn">;
    observe?: ClientObserver;
}

interface ConnectionEvents<Connection> {
    connectionOpened?(event: {
        readonly connection: Connection;
    }): void;
    connectionClosed?(event: {
        readonly connection: Connection;
        readonly why: CloseReason;
        readonly detail: string;
    }): void;
    goawayReceived?(event: {
        readonly connection: Connection;
        readonly code: number;
        readonly debugData: string;
    }): void;
}

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

interface SessionEvents<Call> {
    sessionOpened?(event: {
        readonly call: Call;
    }): void;
    sessionDetached?(event: {
        readonly call: Call;
    }): void;
    sessionResumed?(event: {
        readonly call: Call;
    }): void;
    sessionLost?(event: {
        readonly call: Call;
        readonly reason: string;
        readonly error: ConnectError;
    }): void;
}
