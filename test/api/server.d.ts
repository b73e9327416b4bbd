// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export interface AdmissionRequest {
    readonly caller: Caller;
    readonly method: DescMethod;
    readonly header: Headers;
}

export type Admit = (call: AdmissionRequest) => void | Promise<void>;

export type Authenticate = (request: AuthenticationRequest) => Authentication | Promise<Authentication>;

export interface Authentication {
    readonly identity: string;
    readonly expiresAt?: Date;
    readonly values?: ContextValues;
}

export interface AuthenticationRequest {
    readonly header: Headers;
    readonly peer: Peer;
    readonly method: DescMethod;
    readonly webSocketHeader?: Headers | undefined;
}

export interface CallEnd {
    readonly error: ConnectError | undefined;
    readonly durationMs: number;
    readonly sent: MessageCount;
    readonly received: MessageCount;
    readonly resumes: number;
}

export interface CallStats {
    readonly open: number;
    readonly started: number;
    readonly succeeded: number;
    readonly failed: Readonly<Record<string, number>>;
}

export interface Caller {
    readonly identity: string | undefined;
    readonly peer: Peer;
}

export interface CallerLimit {
    readonly total: number;
    readonly held: number;
    take(caller: Caller, amount?: number): Disposable;
}

export interface CallerLimitOptions {
    readonly name: string;
    readonly total: number;
    readonly what: string;
    readonly of?: string;
}

export interface CloseOptions {
    drainDelayMs?: number;
    graceMs?: number;
    keepListening?: boolean;
}

export type CloseReason = "closed" | "goaway" | "lost" | "failed" | "keepalive";

export { Code } from "@connectrpc/connect";

export { ConnectError } from "@connectrpc/connect";

export { ConnectRouter } from "@connectrpc/connect";

export interface CorsOptions {
    origins: string[];
    credentials?: boolean;
}

export interface DuplexCall<Req, Res> {
    readonly requests: AsyncIterable<Req>;
    readonly send: (response: Res) => Promise<void>;
    readonly signal: AbortSignal;
    readonly context: HandlerContext;
}

export { HandlerContext } from "@connectrpc/connect";

export type HealthStatus = "SERVING" | "NOT_SERVING";

export interface Http1Options {
    readonly headersTimeoutMs?: number;
    readonly bodyIdleMs?: number;
}

export { Interceptor } from "@connectrpc/connect";

export interface KeepaliveOptions {
    intervalMs?: number;
    timeoutMs?: number;
}

export interface LimitStats {
    readonly held: number;
    readonly total: number;
    readonly refused: number;
}

export type ListenOptions = {
    host?: string;
    port?: number;
    path?: undefined;
} | {
    path: string;
    host?: undefined;
    port?: undefined;
};

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

export { MethodImpl } from "@connectrpc/connect";

export type NodeApp = (request: IncomingMessage, response: ServerResponse) => unknown;

export declare class NodeFallback {
    readonly app: NodeApp;
}

export interface ObservedCall {
    readonly method: DescMethod;
    readonly timeoutMs: number | undefined;
}

export interface ObservedServerCall extends ObservedCall {
    readonly protocol: "grpc" | "grpc-web" | "connect";
    readonly header: Headers;
    readonly caller: Caller;
}

export interface ObservedServerConnection {
    readonly protocol: "h2" | "http/1.1" | "websocket";
    readonly peer: Peer;
}

export interface Peer {
    readonly address: string | undefined;
    readonly isEncrypted: boolean;
    readonly certificate: PeerCertificate | undefined;
    readonly proxy: Peer | undefined;
}

export interface PeerCertificate {
    readonly isTrusted: boolean;
    readonly subject: Readonly<Record<string, string | readonly string[]>>;
    readonly subjectAltNames: readonly string[];
    readonly fingerprint256: string;
    readonly spiffeId: string | undefined;
}

export interface Server extends AsyncDisposable {
    listen(options?: ListenOptions): Promise<ServerAddress>;
    close(options?: CloseOptions): Promise<void>;
    setTls(tls: ServerCertificate): void;
    readonly health: ServerHealth;
    readonly openCalls: number;
    stats(): ServerStats;
}

export interface ServerAddress {
    url: string;
    host?: string;
    port?: number;
    path?: string;
}

export interface ServerCallEnd extends CallEnd {
    readonly closedMs: number;
}

export interface ServerCallObserver {
    run?(inside: () => void): void;
    ended?(end: ServerCallEnd): void;
}

export interface ServerCertificate {
    cert: string | Buffer;
    key: string | Buffer;
    ca?: string | Buffer | (string | Buffer)[];
}

export interface ServerHealth {
    set(service: DescService | string, status: HealthStatus): void;
}

export type ServerLogger = Pick<Logger, "error"> & Partial<Logger>;

export interface ServerObserver extends CallEvents<ObservedServerCall>, SessionEvents<ObservedServerCall>, ConnectionEvents<ObservedServerConnection> {
    callStarted?(call: ObservedServerCall): ServerCallObserver | undefined | void;
    handlerFailed?(event: {
        readonly method: DescMethod;
        readonly error: unknown;
    }): void;
    fallbackFailed?(event: {
        readonly method: string;
        readonly path: string;
        readonly error: unknown;
    }): void;
    connectionRefused?(event: {
        readonly peer: Pick<Peer, "address">;
        readonly why: "maxConnections" | "tls" | "prefaceTimeoutMs";
    }): void;
    goawaySent?(event: {
        readonly connection: ObservedServerConnection;
    }): void;
    limitRefused?(event: {
        readonly limit: string;
        readonly caller: Caller | undefined;
    }): void;
    drainBegan?(event: {
        readonly openCalls: number;
    }): void;
    drainEnded?(event: {
        readonly durationMs: number;
        readonly endedCalls: number;
    }): void;
}

export interface ServerOptions {
    routes: (router: ConnectRouter) => void;
    interceptors?: Interceptor[];
    authenticate?: Authenticate;
    admit?: Admit;
    trustedProxies?: string[];
    logger?: ServerLogger;
    observe?: ServerObserver;
    tls?: TlsOptions;
    readMaxBytes?: number;
    writeMaxBytes?: number;
    binaryOptions?: Partial<BinaryReadOptions & BinaryWriteOptions>;
    sendCompression?: "gzip" | "identity";
    compressMinBytes?: number;
    maxTimeoutMs?: number;
    maxConcurrentStreams?: number;
    maxOpenCalls?: number;
    sessions?: false | SessionOptions;
    keepalive?: KeepaliveOptions;
    prefaceTimeoutMs?: number;
    webSocket?: WebSocketOptions;
    cors?: CorsOptions;
    fallback?: ((request: Request) => Response | Promise<Response>) | NodeFallback;
    health?: boolean;
    reflection?: boolean;
    http1?: Http1Options;
    maxConnections?: number;
    connectionIdleMs?: number;
    connectionAgeMs?: number;
    connectionAgeGraceMs?: number;
    connectionBudgetBytes?: number;
    serverBudgetBytes?: number;
    abuse?: "strict" | "lenient" | {
        budget: number;
    };
    minPingIntervalMs?: number;
}

export interface ServerStats {
    readonly connections: number;
    readonly calls: CallStats;
    readonly sessions: SessionStats;
    readonly sessionBytes: number;
    readonly unreadBytes: number;
    readonly callers: number;
    readonly limits: Readonly<Record<string, LimitStats>>;
}

export { ServiceImpl } from "@connectrpc/connect";

export { SessionLost_Reason as SessionLostReason } from "gen/hawser/v1/session_pb.d.ts";

export interface SessionOptions extends Partial<SessionLimits> {
    readonly graceMs?: number;
    readonly windowBytes?: number;
    readonly windowMessages?: number;
}

export interface SessionStats {
    readonly open: number;
    readonly detached: number;
}

export interface TlsOptions extends ServerCertificate {
    requestClientCertificate?: boolean;
}

export interface WebSocketOptions {
    path?: string;
    origins?: string[];
}

export declare function caller(call: {
    readonly values: ContextValues;
} | {
    readonly contextValues: ContextValues;
}): Caller;

export declare function createCallerLimit(options: CallerLimitOptions): CallerLimit;

export { createContextKey } from "@connectrpc/connect";

export { createContextValues } from "@connectrpc/connect";

export declare function createServer(options: ServerOptions): Server;

export { decodeBinaryHeader } from "@connectrpc/connect";

export declare function duplex<Req, Res>(handler: (call: DuplexCall<Req, Res>) => Promise<void> | void): (requests: AsyncIterable<Req>, context: HandlerContext) => AsyncIterable<Res>;

export { encodeBinaryHeader } from "@connectrpc/connect";

export declare function encodedOnce<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): MessageShape<Desc>;

export declare function holdHeaders(context: HandlerContext): void;

export declare function later<T>(open: () => Promise<AsyncIterable<T>>): AsyncIterable<T>;

export declare function nodeFallback(app: NodeApp): NodeFallback;

export declare function readSessionLost(error: unknown): SessionLost | undefined;

export declare function sendHeaders(context: HandlerContext): void;

// Types that these mention, and that cannot be imported.

interface CallEvents<Call> {
    deadlineExceeded?(event: {
        readonly call: Call;
        readonly timeoutMs: number;
    }): void;
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

interface SessionLimits {
    readonly maxSessions: number;
    readonly maxBytes: number;
    readonly resumesPerSecond: number;
}
