/** The watchers of a room and its poster, for each server. */
import type { Peer } from "../job.ts";

/** A crowd: watchers, and one poster. */
export interface Crowd {
  /** Posts messages immediately. */
  post(count: number): void;
  close(): void | Promise<void>;
}

/** The listener of a crowd. */
export interface CrowdOwner {
  /** Called when a watcher has received messages. */
  onMessages(watcher: number, count: number): void;
  /** Called when posts were answered. */
  onPosted(count: number): void;
  onLost(error: Error): void;
}

export interface CrowdOptions {
  readonly address: string;
  readonly watchers: number;
  readonly connections: number;
}

/** Connects a crowd. Resolves when all watchers are connected. */
export async function gather(peer: Peer, options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  switch (peer) {
    case "hawser":
    case "hawser sqlite":
      return await (await import("./hawser.ts")).gather(options, owner);
    case "hawser sessions":
      return await (await import("./hawser.ts")).gatherInSessions(options, owner);
    case "socket.io":
      return await (await import("./socket-io.ts")).gather(options, owner);
    case "centrifugo":
      return await (await import("./centrifugo.ts")).gather(options, owner);
  }
}

/** Does a step `count` times, 50 at a time: no server accepts thousands of connections at the same time. */
export async function each(count: number, start: (n: number) => Promise<void>): Promise<void> {
  const batchSize = 50;
  for (let from = 0; from < count; from += batchSize) {
    const size = Math.min(batchSize, count - from);
    await Promise.all(Array.from({ length: size }, (_, n) => start(from + n)));
  }
}
