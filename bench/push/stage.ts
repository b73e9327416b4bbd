/** Starts and ends the programs of a run: a server for each peer, and the load. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Child, type Measured, type Memory, type UnderTest } from "../child.ts";
import { Centrifugo } from "./centrifugo.ts";
import { PER_CONNECTION, type Peer, type PostJob } from "./job.ts";

const program = (file: string) => join(import.meta.dirname, file);
const startLoad = () => Child.start("load", [program("load/main.ts")]);
const startRooms = (log: string) => Child.start("hawser", [program("servers/hawser.ts"), log]);

/** The times of a measurement. */
export interface Timing {
  readonly warmMs: number;
  readonly measureMs: number;
}

type Server = UnderTest & AsyncDisposable & { readonly address: string };

export class Stage implements AsyncDisposable {
  readonly peers: readonly Peer[];
  /** The folder of the logs. It is in the repository, because /tmp may be in memory. */
  readonly #directory = mkdtempSync(program("../../.cache/push-"));
  readonly #servers = new Map<Peer, Server>();
  #load!: Child;
  #appender!: Child;

  private constructor(peers: readonly Peer[]) {
    this.peers = peers;
  }

  static async start(peers: readonly Peer[]): Promise<Stage> {
    const stage = new Stage(peers);
    process.once("exit", () => stage.#clear());
    stage.#load = await startLoad();
    for (const peer of peers) stage.#servers.set(peer, await stage.#startServer(peer));
    const file = join(stage.#directory, "append.sqlite");
    stage.#appender = await Child.start("append", [program("servers/append.ts"), file]);
    return stage;
  }

  /** Measures the deliveries of one room, and the CPU of the server. */
  fanOut(
    peer: Peer,
    { watchers, window }: { watchers: number; window: number },
    timing: Timing,
  ): Promise<Measured> {
    const server = this.#servers.get(peer) as Server;
    const connections = Math.max(1, Math.ceil(watchers / PER_CONNECTION));
    const crowd = { peer, watchers, connections, address: server.address };
    return this.#load.measure({ kind: "fan-out", ...crowd, window, ...timing }, server);
  }

  /** Measures posts to Hawser with the SQLite log. */
  post(
    job: Pick<PostJob, "method" | "posters" | "connections" | "perSecond">,
    timing: Timing,
  ): Promise<Measured> {
    const server = this.#servers.get("hawser sqlite") as Server;
    const { address } = server;
    return this.#load.measure({ kind: "post", address, ...job, ...timing }, server);
  }

  /** Measures appends to the log, without a server. */
  append(posters: number, perSecond: number, timing: Timing): Promise<Measured> {
    const job = { kind: "append", posters, perSecond, ...timing } as const;
    return this.#appender.measure(job, this.#appender);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [this.#load, this.#appender, ...this.#servers.values()];
    await Promise.all(all.map((child) => child[Symbol.asyncDispose]()));
    this.#clear();
  }

  #clear(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #startServer(peer: Peer): Promise<Server> {
    switch (peer) {
      case "hawser":
      case "hawser sessions":
        return startRooms("memory");
      case "hawser sqlite":
        return startRooms(`sqlite:${join(this.#directory, "rooms.sqlite")}`);
      case "socket.io":
        return Child.start(peer, [program("servers/socket-io.ts")]);
      case "centrifugo":
        return Centrifugo.start();
    }
  }
}

/** Measures the memory of an idle watcher in a new server, after a second of work, as idleBytes() of bench/measure.ts does. */
export async function measureIdle(watchers: number, connections: number): Promise<Memory> {
  await using server = await startRooms("memory");
  await using load = await startLoad();
  const { address } = server;
  const some = { peer: "hawser", address, watchers: 200, connections: 4 } as const;
  const work = { kind: "fan-out", window: 64, warmMs: 0, measureMs: 1000 } as const;
  await load.measure({ ...some, ...work }, server);
  const measure = () => server.memory();
  await load.idle({ kind: "watchers", ...some }, measure);
  const before = await measure();
  const all = { kind: "watchers", peer: "hawser", address, watchers, connections } as const;
  const after = await load.idle(all, measure);
  return {
    rss: (after.rss - before.rss) / watchers,
    used: (after.used - before.used) / watchers,
  };
}
