// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export interface SqliteLogOptions {
    readonly path: string;
    readonly retention?: Retention;
    readonly maxBytes?: number;
    readonly logger?: Logger;
}

export declare function sqliteLog(options: string | SqliteLogOptions): Promise<TopicLog>;

// Types that these mention, and that cannot be imported.

interface AppendOptions {
    readonly owner?: unknown;
}

interface Appended {
    readonly cursor: string;
    readonly repeated: boolean;
}

interface Logger {
    info?(message: string, ...details: unknown[]): void;
    error(message: string, ...details: unknown[]): void;
    warn(message: string, ...details: unknown[]): void;
}

interface NewRecord {
    readonly data: Uint8Array;
    readonly id?: {
        readonly producer: string;
        readonly sequence: bigint;
    };
}

interface PageLimits {
    readonly records?: number;
    readonly bytes?: number;
}

interface Retention {
    readonly ageMs?: number;
    readonly records?: number;
    readonly bytes?: number;
}

interface TopicGap extends TopicPosition {
    readonly kind: "gap";
}

type TopicItem = TopicRecord | TopicGap;

interface TopicLog extends AsyncDisposable {
    readonly epoch: string;
    append(topic: string, records: readonly NewRecord[], options?: AppendOptions): Promise<Appended[]>;
    page(topic: string, after: string | undefined, limits?: PageLimits): Promise<TopicItem[]>;
    read(topic: string, after: string | undefined, signal: AbortSignal): AsyncIterable<TopicItem>;
    oldest(topic: string): Promise<TopicPosition>;
    end(topic: string): Promise<TopicPosition>;
    trim(topic: string, upTo: string): Promise<void>;
    topics(prefix?: string, page?: TopicsPage): Promise<string[]>;
}

interface TopicPosition {
    readonly position: number;
    readonly cursor: string;
}

interface TopicRecord extends TopicPosition {
    readonly kind: "record";
    readonly data: Uint8Array;
    readonly timeMs: number;
}

interface TopicsPage {
    readonly after?: string;
    readonly limit?: number;
}
