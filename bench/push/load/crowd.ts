/** The watchers of one room, and its poster, for every server. */
import type { Peer } from "../job.ts";

/** A crowd: watchers, and one poster. */
export interface Crowd {
  /** Posts messages; they leave now. */
  post(count: number): void;
  close(): void;
}

/** The listener of a crowd. */
export interface CrowdOwner {
  /** A watcher got messages. */
  onMessages(watcher: number, count: number): void;
  /** Posts were answered. */
  onPosted(count: number): void;
  onLost(error: Error): void;
}

export interface CrowdOptions {
  readonly address: string;
  readonly watchers: number;
  readonly connections: number;
}

/** Gathers a crowd; resolves when all watchers are connected. */
export async function gather(peer: Peer, options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  switch (peer) {
    case "hawser":
    case "hawser sqlite":
      return await (await import("./hawser.ts")).gather(options, owner);
    case "socket.io":
      return await (await import("./socket-io.ts")).gather(options, owner);
    case "centrifugo":
      return await (await import("./centrifugo.ts")).gather(options, owner);
  }
}

/** Does a step `count` times, a few at a time: no server takes thousands of connections at once. */
export async function each(count: number, start: (n: number) => Promise<void>): Promise<void> {
  const atOnce = 50;
  for (let from = 0; from < count; from += atOnce) {
    const size = Math.min(atOnce, count - from);
    await Promise.all(Array.from({ length: size }, (_, n) => start(from + n)));
  }
}
