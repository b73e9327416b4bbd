/** What the programs of bench/web tell each other: the jobs of the page, and what it answers. */

/** Who is measured. "hawser" makes plain calls, and "hawser tcp" the same calls on Node, over TCP. */
export const peers = [
  "hawser",
  "hawser sessions",
  "JSON messages",
  "socket.io",
  "JSON arrays",
  "64 KiB frames",
  "hawser tcp",
] as const;
export type Peer = (typeof peers)[number];

/** echo: one chat, as fast as the peer takes messages. push: without a pause. ping-pong: one message at a time. */
export type Workload = "echo" | "push" | "ping-pong";

/** A load on a server. */
export interface LoadJob {
  readonly kind: "load";
  readonly peer: Peer;
  /** http://host:port */
  readonly url: string;
  readonly workload: Workload;
  /** Bytes of content. */
  readonly size: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

/** A chat with a session, whose connection is lost after "ready". */
export interface LossJob {
  readonly kind: "loss";
  readonly url: string;
  readonly keepalive: { readonly intervalMs: number; readonly timeoutMs: number };
}

/** A push that is not read, with other calls beside it. */
export interface UnreadJob {
  readonly kind: "unread";
  readonly url: string;
  readonly size: number;
  readonly ms: number;
}

export type WebJob = LoadJob | LossJob | UnreadJob;

/** What a load has done in the measured time. */
export interface Loaded {
  readonly messages: number;
  readonly ms: number;
  /** The longest task of the page, if one took over 50 ms; else 0. NaN where there is no page. */
  readonly longestTaskMs: number;
}

/** How a chat has continued. */
export interface Survived {
  /** When the chat was open again, in ms since 1970. */
  readonly openAt: number;
  readonly sent: number;
  readonly received: number;
  /** Replies that were not the next one: repeated, or after a lost one. */
  readonly wrong: number;
}

/** What has come of a push that is not read, and what other calls have done meanwhile. */
export interface Unread {
  /** The bytes that wait in the page: half way, and in the end. */
  readonly halfBytes: number;
  readonly bytes: number;
  /** The number of unary calls, and how long the slowest has taken. */
  readonly calls: number;
  readonly slowestMs: number;
}

export type ResultOf<Job extends WebJob> = Job extends LoadJob
  ? Loaded
  : Job extends LossJob
    ? Survived
    : Unread;

/** What a page tells: the measured time begins, or ends; the connection may be lost now; the job is done, or has failed. */
export type PageEvent =
  | { readonly event: "start" | "end" | "ready" }
  | { readonly event: "done"; readonly result: Loaded | Survived | Unread }
  | { readonly event: "failed"; readonly error: string };

export type Tell = (event: "start" | "end" | "ready") => void;
