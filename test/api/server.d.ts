// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export interface CloseOptions {
    graceMs?: number;
    keepListening?: boolean;
}

export { Code } from "@connectrpc/connect";

export { ConnectError } from "@connectrpc/connect";

export { ConnectRouter } from "@connectrpc/connect";

export { HandlerContext } from "@connectrpc/connect";

export interface Http1Options {
    readonly headersTimeoutMs?: number;
    readonly bodyIdleMs?: number;
}

export { Interceptor } from "@connectrpc/connect";

export interface KeepaliveOptions {
    intervalMs?: number;
    timeoutMs?: number;
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
    error(message: string, ...details: unknown[]): void;
    warn(message: string, ...details: unknown[]): void;
}

export { MessageInitShape } from "@bufbuild/protobuf";

export { MethodImpl } from "@connectrpc/connect";

export interface Server extends AsyncDisposable {
    listen(options?: ListenOptions): Promise<ServerAddress>;
    close(options?: CloseOptions): Promise<void>;
    readonly openCalls: number;
}

export interface ServerAddress {
    url: string;
    host?: string;
    port?: number;
    path?: string;
}

export interface ServerOptions {
    routes: (router: ConnectRouter) => void;
    interceptors?: Interceptor[];
    logger?: Pick<Logger, "error">;
    tls?: TlsOptions;
    readMaxBytes?: number;
    writeMaxBytes?: number;
    binaryOptions?: Partial<BinaryReadOptions & BinaryWriteOptions>;
    sendCompression?: "gzip" | "identity";
    compressMinBytes?: number;
    maxTimeoutMs?: number;
    maxConcurrentStreams?: number;
    sessions?: false | SessionOptions;
    keepalive?: KeepaliveOptions;
    prefaceTimeoutMs?: number;
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

export { ServiceImpl } from "@connectrpc/connect";

export interface SessionCaller {
    readonly header: Headers;
    readonly certificate: string | undefined;
}

export { SessionLost_Reason as SessionLostReason } from "gen/hawser/v1/session_pb.d.ts";

export interface SessionOptions extends Partial<SessionLimits> {
    readonly graceMs?: number;
    readonly windowBytes?: number;
    readonly windowMessages?: number;
    readonly identify?: (caller: SessionCaller) => string | Promise<string>;
}

export interface TlsOptions {
    cert: string | Buffer;
    key: string | Buffer;
    ca?: string | Buffer | (string | Buffer)[];
    requestClientCertificate?: boolean;
}

export { createContextKey } from "@connectrpc/connect";

export { createContextValues } from "@connectrpc/connect";

export declare function createServer(options: ServerOptions): Server;

export { decodeBinaryHeader } from "@connectrpc/connect";

export { encodeBinaryHeader } from "@connectrpc/connect";

export declare function encodedOnce<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): MessageShape<Desc>;

export declare function holdHeaders(context: HandlerContext): void;

export declare function later<T>(open: () => Promise<AsyncIterable<T>>): AsyncIterable<T>;

export declare function readSessionLost(error: unknown): SessionLost | undefined;

export declare function sendHeaders(context: HandlerContext): void;

// Types that these mention, and that cannot be imported.

interface SessionLimits {
    readonly maxSessions: number;
    readonly maxBytes: number;
    readonly maxPerConnection: number;
    readonly resumesPerSecond: number;
}
