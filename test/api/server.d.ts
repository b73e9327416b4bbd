// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export interface AnnounceOptions {
    readonly fleeting?: boolean;
}

export interface Appended {
    readonly cursor: string;
    readonly repeated: boolean;
}

export interface CloseOptions {
    graceMs?: number;
    keepListening?: boolean;
}

export { Code } from "@connectrpc/connect";

export { ConnectError } from "@connectrpc/connect";

export { ConnectRouter } from "@connectrpc/connect";

export { HandlerContext } from "@connectrpc/connect";

export interface Hub<T = TopicRecord, N = never> extends AsyncDisposable {
    subscribe<U = HubEvent<T, N>>(topic: string, options: SubscribeOptions<T, N, U>, signal: AbortSignal): Subscription<T, N, U>;
    announce(topic: string, value: N, options?: AnnounceOptions): void;
    readonly size: {
        readonly topics: number;
        readonly bytes: number;
    };
}

export type HubEvent<T, N = never> = {
    readonly kind: "opening";
    readonly mark: TopicPosition;
} | RecordSlot<T> | TopicGap | NoteSlot<N>;

export interface HubOptions<T> {
    readonly make?: (entry: TopicRecord) => T;
    readonly records?: number;
    readonly bytes?: number;
    readonly totalBytes?: number;
    readonly pageBytes?: number;
    readonly pagesAtOnce?: number;
    readonly lingerMs?: number;
    readonly patienceMs?: number;
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

export interface MemoryLogOptions {
    readonly retention?: Retention;
    readonly epoch?: string;
}

export { MessageInitShape } from "@bufbuild/protobuf";

export { MethodImpl } from "@connectrpc/connect";

export interface NewRecord {
    readonly data: Uint8Array;
    readonly id?: {
        readonly producer: string;
        readonly sequence: bigint;
    };
}

export interface PageLimits {
    readonly records?: number;
    readonly bytes?: number;
}

export interface Retention {
    readonly ageMs?: number;
    readonly records?: number;
    readonly bytes?: number;
}

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

export interface SubscribeOptions<T, N, U> {
    readonly after?: string | undefined;
    readonly start?: "now" | "oldest" | undefined;
    readonly ready?: () => Promise<void>;
    readonly shape?: (event: HubEvent<T, N>) => U | undefined;
    readonly onEnd?: () => void;
}

export declare class Subscription<T, N, U> implements AsyncIterable<U>, Follower, Well<U> {
    #private;
    waiting: boolean;
    readonly placed: Promise<void>;
    [Symbol.asyncIterator](): AsyncIterator<U, undefined>;
    tell(value: U): Promise<void>;
    close(error?: unknown): void;
    wake(): void;
    take(): U | undefined;
    onDry(): void;
    onEnd(): void;
}

export interface TlsOptions {
    cert: string | Buffer;
    key: string | Buffer;
    ca?: string | Buffer | (string | Buffer)[];
    requestClientCertificate?: boolean;
}

export interface TopicGap extends TopicPosition {
    readonly kind: "gap";
}

export type TopicItem = TopicRecord | TopicGap;

export interface TopicLog extends AsyncDisposable {
    readonly epoch: string;
    append(topic: string, records: readonly NewRecord[]): Promise<Appended[]>;
    page(topic: string, after: string | undefined, limits?: PageLimits): Promise<TopicItem[]>;
    read(topic: string, after: string | undefined, signal: AbortSignal): AsyncIterable<TopicItem>;
    oldest(topic: string): Promise<TopicPosition>;
    end(topic: string): Promise<TopicPosition>;
    trim(topic: string, upTo: string): Promise<void>;
    topics(prefix?: string): Promise<string[]>;
}

export interface TopicPosition {
    readonly position: number;
    readonly cursor: string;
}

export interface TopicRecord extends TopicPosition {
    readonly kind: "record";
    readonly data: Uint8Array;
    readonly timeMs: number;
}

export { createContextKey } from "@connectrpc/connect";

export { createContextValues } from "@connectrpc/connect";

export declare function createHub<T = TopicRecord, N = never>(log: TopicLog, options?: HubOptions<T>): Hub<T, N>;

export declare function createServer(options: ServerOptions): Server;

export { decodeBinaryHeader } from "@connectrpc/connect";

export { encodeBinaryHeader } from "@connectrpc/connect";

export declare function encodedOnce<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): MessageShape<Desc>;

export declare function holdHeaders(context: HandlerContext): void;

export declare function later<T>(open: () => Promise<AsyncIterable<T>>): AsyncIterable<T>;

export declare function memoryLog(options?: MemoryLogOptions): TopicLog;

export declare function readSessionLost(error: unknown): SessionLost | undefined;

export declare function sendHeaders(context: HandlerContext): void;

// What these mention, and nobody can import.

interface Follower {
    waiting: boolean;
    wake(): void;
    close(error: unknown): void;
}

interface NoteSlot<N> {
    readonly kind: "note";
    readonly position: number;
    readonly number: number;
    readonly value: N;
}

interface RecordSlot<T> {
    readonly kind: "record";
    readonly position: number;
    readonly cursor: string;
    readonly value: T;
}

interface SessionLimits {
    readonly maxSessions: number;
    readonly maxBytes: number;
    readonly maxPerConnection: number;
    readonly resumesPerSecond: number;
}

interface Well<T> {
    take(): T | undefined;
    onDry(): void;
    onEnd(): void;
}
