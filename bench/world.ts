/** All the programs of a run, started and waiting. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Child, type Measured, type Program } from "./child.ts";
import { type Cell, jobOf, type Peer, peers, type Role } from "./plan.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Builds the Go programs, about two seconds where Go has its cache; gives the path of the
 * binary, or undefined where there is no Go.
 */
export function buildGo(): string | undefined {
  const binary = here("../.cache/bench/peer");
  mkdirSync(here("../.cache/bench"), { recursive: true });
  const built = spawnSync("go", ["build", "-o", binary, "."], {
    cwd: here("./go"),
    encoding: "utf8",
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (built.error !== undefined) return undefined;
  if (built.status !== 0) throw new Error("go build failed in bench/go");
  return binary;
}

export class World implements AsyncDisposable {
  /** The peers that this machine can run. */
  readonly peers: readonly Peer[];
  /** The load, in words. */
  readonly loadName: string;
  readonly #go: string | undefined;
  readonly #checkout: string | undefined;
  readonly #servers = new Map<Peer, Child>();
  readonly #clients = new Map<Peer, Child>();
  #load!: Child;

  private constructor(go: string | undefined, checkout: string | undefined) {
    this.#go = go;
    this.#checkout = checkout;
    this.peers =
      checkout === undefined
        ? peers.filter((peer) => go !== undefined || peer !== "grpc-go")
        : ["hawser", "before"];
    this.loadName = go === undefined ? "raw node:http2 (bench/load.ts)" : "grpc-go (bench/go)";
  }

  /** @param checkout the path of another Hawser, with its node_modules: it is then the only other peer */
  static async start(go: string | undefined, checkout?: string): Promise<World> {
    const world = new World(go, checkout);
    world.#load = await world.startLoad();
    for (const peer of world.peers) {
      world.#servers.set(peer, await world.startServer(peer));
      world.#clients.set(peer, await world.startClient(peer));
    }
    return world;
  }

  startLoad(): Promise<Child> {
    return Child.start("load", this.#go === undefined ? [here("./load.ts")] : [this.#go, "load"]);
  }

  startServer(peer: Peer): Promise<Child> {
    return Child.start(`${peer} server`, this.#program(peer, "server"));
  }

  startClient(peer: Peer): Promise<Child> {
    return Child.start(`${peer} client`, this.#program(peer, "client"));
  }

  /**
   * The server that all clients are measured against: ours, since every other pushes more slowly
   * than some client can read, and would then be measured itself.
   */
  readonly target: Peer = "hawser";

  get goVersion(): string | undefined {
    return this.#go === undefined ? undefined : this.#load.version;
  }

  /** One peer, one role, one row, once. */
  measure(role: Role, peer: Peer, cell: Cell, warmMs: number, ms: number): Promise<Measured> {
    const server = this.#servers.get(role === "server" ? peer : this.target)!;
    const client = role === "server" ? this.#load : this.#clients.get(peer)!;
    const job = jobOf(cell, server.address, warmMs, ms);
    return client.measure(job, role === "server" ? server : client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [this.#load, ...this.#servers.values(), ...this.#clients.values()];
    await Promise.all(all.map((child) => child[Symbol.asyncDispose]()));
  }

  #program(peer: Peer, role: Role): Program {
    if (peer === "grpc-go") return [this.#go!, role];
    // Its own program, which imports its own source.
    if (peer === "before") return [join(this.#checkout!, "bench", `${role}s`, "hawser.ts")];
    return [here(`./${role}s/${peer}.ts`)];
  }
}
