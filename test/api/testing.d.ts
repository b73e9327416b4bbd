// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export type CutKind = "rst" | "fin";

export type Direction = "up" | "down";

export interface Link {
    readonly url: string;
    readonly accepted: number;
    readonly open: number;
    cut(kind?: CutKind): Promise<number>;
    cutAfter(direction: Direction, bytes: number, kind?: CutKind): Promise<void>;
    stall(direction?: Direction): Disposable;
    resume(direction?: Direction): void;
    refuse(): Disposable;
    accept(): void;
    delay(ms: number, direction?: Direction): Disposable;
}

export interface World extends AsyncDisposable {
    readonly url: string;
    readonly transport: ClosableTransport;
    readonly server: WorldServer;
    readonly link: Link;
    client<Service extends DescService>(service: Service): Client<Service>;
}

export interface WorldOptions {
    routes: ServerOptions["routes"];
    server?: Omit<ServerOptions, "routes">;
    transport?: Omit<TransportOptions, "baseUrl">;
    tls?: Pick<TlsOptions, "cert" | "key">;
    listen?: ListenOptions;
}

export interface WorldServer extends Pick<Server, "close" | "health" | "openCalls" | "setTls" | "stats"> {
    readonly url: string;
    kill(): Promise<void>;
    restart(): Promise<void>;
}

export declare function startWorld(given: ServerOptions["routes"] | WorldOptions): Promise<World>;

// Types that these mention, and that cannot be imported.

interface AdmissionRequest {
    readonly caller: Caller;
    readonly method: DescMethod;
    readonly header: Headers;
}

type Admit = (call: AdmissionRequest) => void | Promise<void>;

type Authenticate = (request: AuthenticationRequest) => Authentication | Promise<Authentication>;

interface Authentication {
    readonly identity: string;
    readonly expiresAt?: Date;
    readonly values?: ContextValues;
}

interface AuthenticationRequest {
    readonly header: Headers;
    readonly peer: Peer;
    readonly method: DescMethod;
    readonly webSocketHeader?: Headers | undefined;
}

interface BidirectionalCall<I extends DescMessage, O extends DescMessage> {
    (options?: CallOptions): Duplex<Req<I>, Res<O>>;
    (requests: AsyncIterable<Req<I>>, options?: CallOptions): ServerStream<Res<O>>;
}

interface CallEnd {
    readonly error: ConnectError | undefined;
    readonly durationMs: number;
    readonly sent: MessageCount;
    readonly received: MessageCount;
    readonly resumes: number;
}

interface CallEvents<Call> {
    deadlineExceeded?(event: {
        readonly call: Call;
        readonly timeoutMs: number;
    }): void;
}

type CallHeaders = HeadersInit | HeadersFunction;

interface CallOptions extends Omit<ConnectCallOptions, "headers"> {
    headers?: CallHeaders;
    compress?: boolean;
    sessions?: SessionsOption;
}

type CallState = "connecting" | "open" | "resuming" | "closed";

interface CallStats {
    readonly open: number;
    readonly started: number;
    readonly succeeded: number;
    readonly failed: Readonly<Record<string, number>>;
}

interface Caller {
    readonly identity: string | undefined;
    readonly peer: Peer;
}

type Client<Desc extends DescService> = {
    [P in keyof Desc["method"]]: Desc["method"][P] extends DescMethodUnary<infer I, infer O> ? UnaryCall<I, O> : Desc["method"][P] extends DescMethodServerStreaming<infer I, infer O> ? ServerStreamingCall<I, O> : Desc["method"][P] extends DescMethodClientStreaming<infer I, infer O> ? ClientStreamingCall<I, O> : Desc["method"][P] extends DescMethodBiDiStreaming<infer I, infer O> ? BidirectionalCall<I, O> : never;
};

interface ClientCallEnd extends CallEnd {
    readonly attempts: number;
    readonly openedMs: number | undefined;
}

interface ClientCallObserver {
    readonly headers?: HeadersInit;
    ended?(end: ClientCallEnd): void;
}

interface ClientObserver extends CallEvents<ObservedClientCall>, SessionEvents<ObservedClientCall>, ConnectionEvents<ObservedClientConnection> {
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

interface ClientStreamingCall<I extends DescMessage, O extends DescMessage> {
    (options?: CallOptions): Sink<Req<I>, Res<O>>;
    (requests: AsyncIterable<Req<I>>, options?: CallOptions): Promise<Res<O>>;
}

interface ClientTls {
    ca?: string | Buffer | (string | Buffer)[];
    cert?: string | Buffer;
    key?: string | Buffer;
    serverName?: string;
    rejectUnauthorized?: boolean;
}

interface ClosableTransport extends Transport, AsyncDisposable {
    readonly timeoutMs: number | undefined;
    stats(): TransportStats;
    close(): Promise<void>;
}

interface CloseOptions {
    drainDelayMs?: number;
    graceMs?: number;
    keepListening?: boolean;
}

type CloseReason = "closed" | "goaway" | "lost" | "failed" | "keepalive";

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

interface CorsOptions {
    origins: string[];
    credentials?: boolean;
}

interface Duplex<Req, Res> extends Ongoing, AsyncIterable<Res> {
    send(message: Req): Promise<void>;
    closeSend(): void;
}

type HeadersFunction = () => HeadersInit | Promise<HeadersInit>;

type HealthStatus = "SERVING" | "NOT_SERVING";

interface Http1Options {
    readonly headersTimeoutMs?: number;
    readonly bodyIdleMs?: number;
}

interface KeepaliveOptions {
    intervalMs?: number;
    timeoutMs?: number;
}

interface LimitStats {
    readonly held: number;
    readonly total: number;
    readonly refused: number;
}

type ListenOptions = {
    host?: string;
    port?: number;
    path?: undefined;
} | {
    path: string;
    host?: undefined;
    port?: undefined;
};

interface Logger {
    info?(message: string, ...details: unknown[]): void;
    error(message: string, ...details: unknown[]): void;
    warn(message: string, ...details: unknown[]): void;
}

interface MessageCount {
    readonly messages: number;
    readonly bytes: number | undefined;
}

type NodeApp = (request: IncomingMessage, response: ServerResponse) => unknown;

declare class NodeFallback {
    readonly app: NodeApp;
}

interface ObservedCall {
    readonly method: DescMethod;
    readonly timeoutMs: number | undefined;
}

interface ObservedClientCall extends ObservedCall {
    readonly target: string;
}

interface ObservedClientConnection {
    readonly address: string;
}

interface ObservedServerCall extends ObservedCall {
    readonly protocol: "grpc" | "grpc-web" | "connect";
    readonly header: Headers;
    readonly caller: Caller;
}

interface ObservedServerConnection {
    readonly protocol: "h2" | "http/1.1" | "websocket";
    readonly peer: Peer;
}

interface Ongoing extends AsyncDisposable {
    readonly headers: Promise<Headers>;
    readonly trailers: Promise<Headers>;
    readonly state: CallState;
    readonly resumable: boolean;
    onState(listener: (state: CallState) => void): Disposable;
    cancel(reason?: unknown): void;
}

interface Peer {
    readonly address: string | undefined;
    readonly isEncrypted: boolean;
    readonly certificate: PeerCertificate | undefined;
    readonly proxy: Peer | undefined;
}

interface PeerCertificate {
    readonly isTrusted: boolean;
    readonly subject: Readonly<Record<string, string | readonly string[]>>;
    readonly subjectAltNames: readonly string[];
    readonly fingerprint256: string;
    readonly spiffeId: string | undefined;
}

type Req<I extends DescMessage> = MessageInitShape<I>;

type Res<O extends DescMessage> = MessageShape<O>;

interface Server extends AsyncDisposable {
    listen(options?: ListenOptions): Promise<ServerAddress>;
    close(options?: CloseOptions): Promise<void>;
    setTls(tls: ServerCertificate): void;
    readonly health: ServerHealth;
    readonly openCalls: number;
    stats(): ServerStats;
}

interface ServerAddress {
    url: string;
    host?: string;
    port?: number;
    path?: string;
}

interface ServerCallEnd extends CallEnd {
    readonly closedMs: number;
}

interface ServerCallObserver {
    run?(inside: () => void): void;
    ended?(end: ServerCallEnd): void;
}

interface ServerCertificate {
    cert: string | Buffer;
    key: string | Buffer;
    ca?: string | Buffer | (string | Buffer)[];
}

interface ServerHealth {
    set(service: DescService | string, status: HealthStatus): void;
}

type ServerLogger = Pick<Logger, "error"> & Partial<Logger>;

interface ServerObserver extends CallEvents<ObservedServerCall>, SessionEvents<ObservedServerCall>, ConnectionEvents<ObservedServerConnection> {
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

interface ServerOptions {
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

interface ServerStats {
    readonly connections: number;
    readonly calls: CallStats;
    readonly sessions: SessionStats;
    readonly sessionBytes: number;
    readonly unreadBytes: number;
    readonly callers: number;
    readonly limits: Readonly<Record<string, LimitStats>>;
}

interface ServerStream<Res> extends Ongoing, AsyncIterable<Res> {
}

type ServerStreamingCall<I extends DescMessage, O extends DescMessage> = (request: Req<I>, options?: CallOptions) => ServerStream<Res<O>>;

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

interface SessionOptions extends Partial<SessionLimits> {
    readonly graceMs?: number;
    readonly windowBytes?: number;
    readonly windowMessages?: number;
}

interface SessionStats {
    readonly open: number;
    readonly detached: number;
}

interface SessionWindowOptions {
    windowBytes?: number;
    windowMessages?: number;
}

type SessionsOption = boolean | "required" | SessionWindowOptions;

interface Sink<Req, Res> extends Ongoing {
    send(message: Req): Promise<void>;
    finish(): Promise<Res>;
}

interface TlsOptions extends ServerCertificate {
    requestClientCertificate?: boolean;
}

interface TransportOptions extends CommonTransportOptions {
    baseUrl: string | readonly string[];
    tls?: ClientTls;
}

interface TransportStats {
    readonly connections: number;
    readonly calls: CallStats & {
        readonly waiting: number;
    };
    readonly sessions: SessionStats;
    readonly unreadBytes: number;
}

type UnaryCall<I extends DescMessage, O extends DescMessage> = (request: Req<I>, options?: CallOptions) => Promise<Res<O>>;

interface WebSocketOptions {
    path?: string;
    origins?: string[];
}
