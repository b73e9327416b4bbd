/** The jobs of the load of bench/push. */

/** The servers that push messages: Hawser with each of two logs, and the peers. */
export const peers = ["hawser", "hawser sqlite", "socket.io", "centrifugo"] as const;
export type Peer = (typeof peers)[number];

/** The room, or channel, of all clients. */
export const ROOM = "lobby";

/** The text that is posted: 30 bytes. */
export const TEXT = "x".repeat(30);

/** Watchers on a connection of a gRPC peer; others have a connection each. */
export const PER_CONNECTION = 50;

/** One room, and all of its watchers. */
export interface FanOutJob {
  readonly kind: "fan-out";
  readonly peer: Peer;
  /** host:port */
  readonly address: string;
  readonly watchers: number;
  readonly connections: number;
  /** Posts on their way, until the average watcher has them. */
  readonly window: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

/** Watchers that wait until they are released. */
export interface WatchersJob {
  readonly kind: "watchers";
  readonly peer: Peer;
  readonly address: string;
  readonly watchers: number;
  readonly connections: number;
}

/** Posters that wait for each answer: by Join each has a room of its own, by Post all are in one. */
export interface PostJob {
  readonly kind: "post";
  readonly address: string;
  /** By one call for each post, or in the call of a member. */
  readonly method: "Post" | "Join";
  readonly posters: number;
  readonly connections: number;
  /** Posts a second, however fast answers come; 0: the next post as soon as one is answered. */
  readonly perSecond: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

/** The same, in the process of the log. */
export interface AppendJob {
  readonly kind: "append";
  readonly posters: number;
  readonly perSecond: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

export type PushJob = FanOutJob | WatchersJob | PostJob | AppendJob;
