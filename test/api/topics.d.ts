// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export interface AnnounceOptions {
    readonly fleeting?: boolean;
}

export interface AppendOptions {
    readonly owner?: unknown;
}

export interface Appended {
    readonly cursor: string;
    readonly repeated: boolean;
}

export interface Hub<T = TopicRecord, N = never> extends AsyncDisposable {
    subscribe<U = HubEvent<T, N>>(topic: string, options: SubscribeOptions<T, N, U>, signal: AbortSignal): Subscription<U>;
    announce(topic: string, value: N, options?: AnnounceOptions): void;
    readonly size: {
        readonly topics: number;
        readonly bytes: number;
    };
}

export type HubEvent<T, N = never> = TopicOpening | RecordSlot<T> | TopicGap | NoteSlot<N>;

export interface HubOptions<T> {
    readonly make?: (record: TopicRecord) => T;
    readonly records?: number;
    readonly bytes?: number;
    readonly totalBytes?: number;
    readonly pageBytes?: number;
    readonly pagesAtOnce?: number;
    readonly lingerMs?: number;
    readonly patienceMs?: number;
}

export interface Logger {
    info?(message: string, ...details: unknown[]): void;
    error(message: string, ...details: unknown[]): void;
    warn(message: string, ...details: unknown[]): void;
}

export interface MemoryLogOptions {
    readonly retention?: Retention;
    readonly maxBytes?: number;
    readonly epoch?: string;
}

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

export interface SubscribeOptions<T, N, U> {
    readonly after?: string | undefined;
    readonly start?: "now" | "oldest" | undefined;
    readonly ready?: () => Promise<void>;
    readonly shape?: (event: HubEvent<T, N>) => U | undefined;
    readonly onEnd?: () => void;
}

export interface Subscription<U> extends AsyncIterable<U> {
    readonly placed: Promise<void>;
    [Symbol.asyncIterator](): AsyncIterator<U, undefined>;
    tell(value: U): Promise<void>;
    close(error?: unknown): void;
}

export interface TopicGap extends TopicPosition {
    readonly kind: "gap";
}

export type TopicItem = TopicRecord | TopicGap;

export interface TopicLog extends AsyncDisposable {
    readonly epoch: string;
    append(topic: string, records: readonly NewRecord[], options?: AppendOptions): Promise<Appended[]>;
    page(topic: string, after: string | undefined, limits?: PageLimits): Promise<TopicItem[]>;
    read(topic: string, after: string | undefined, signal: AbortSignal): AsyncIterable<TopicItem>;
    oldest(topic: string): Promise<TopicPosition>;
    end(topic: string): Promise<TopicPosition>;
    trim(topic: string, upTo: string): Promise<void>;
    topics(prefix?: string, page?: TopicsPage): Promise<string[]>;
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

export declare function compareTopics(a: string, b: string): number;

export declare function createHub<T = TopicRecord, N = never>(log: TopicLog, options?: HubOptions<T>): Hub<T, N>;

export declare function decodeMessage<Desc extends DescMessage>(schema: Desc, data: Uint8Array): MessageShape<Desc>;

export declare function encodeMessage<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): Uint8Array;

export declare function memoryLog(options?: MemoryLogOptions): TopicLog;

export declare function placeInTopics(sorted: readonly string[], name: string): number;

// Types that these mention, and that cannot be imported.

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

interface TopicOpening extends TopicPosition {
    readonly kind: "opening";
}

interface TopicsPage {
    readonly after?: string;
    readonly limit?: number;
}
