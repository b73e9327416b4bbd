/** The jobs of the load of bench/push. */

/** The servers that push messages: Hawser with each of two logs, Hawser to watchers in sessions, and the peers. */
export const peers = [
  "hawser",
  "hawser sessions",
  "hawser sqlite",
  "socket.io",
  "centrifugo",
] as const;
export type Peer = (typeof peers)[number];

/** The room, or channel, of all clients. */
export const ROOM = "lobby";

/** The text that is posted: 30 bytes. */
export const TEXT = "x".repeat(30);

/** The number of watchers on a connection of a gRPC peer. Other watchers have a connection each. */
export const PER_CONNECTION = 50;

/** Messages to all watchers of one room. */
export interface FanOutJob {
  readonly kind: "fan-out";
  readonly peer: Peer;
  /** host:port */
  readonly address: string;
  readonly watchers: number;
  readonly connections: number;
  /** The number of posts that the average watcher has not received yet. */
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

/** Posters that wait for each answer. With Join each has a room of its own; with Post all are in one room. */
export interface PostJob {
  readonly kind: "post";
  readonly address: string;
  /** "Post": a call for each post; "Join": one call for all posts of a member. */
  readonly method: "Post" | "Join";
  readonly posters: number;
  readonly connections: number;
  /** The rate of posts; 0 means that each poster posts again as soon as it has an answer. */
  readonly perSecond: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

/** Posters that append to a log in its own process. */
export interface AppendJob {
  readonly kind: "append";
  readonly posters: number;
  readonly perSecond: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

export type PushJob = FanOutJob | WatchersJob | PostJob | AppendJob;
