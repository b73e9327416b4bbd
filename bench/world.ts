/** Starts and ends all programs of a run. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Child, type Measured, type Program } from "./child.ts";
import type { Job } from "./commands.ts";
import { type Cell, jobOf, type Peer, peers, type Role } from "./plan.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Builds the Go programs, in about two seconds if Go's cache is warm. Returns the path of the binary, or `undefined`
 * if Go is not installed.
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

  /** @param checkout the path of another checkout of Hawser, with its node_modules: the only other peer in that case */
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
   * The server for all clients under test. It is Hawser's: every other server pushes more slowly than the fastest client
   * reads, so that client would only be as fast as the server.
   */
  readonly target: Peer = "hawser";

  get goVersion(): string | undefined {
    return this.#go === undefined ? undefined : this.#load.version;
  }

  /** Measures a row once, with one peer in one role. */
  measure(
    { role, peer, cell }: { role: Role; peer: Peer; cell: Cell },
    timing: Pick<Job, "warmMs" | "measureMs">,
  ): Promise<Measured> {
    const server = this.#servers.get(role === "server" ? peer : this.target)!;
    const client = role === "server" ? this.#load : this.#clients.get(peer)!;
    const job = jobOf(cell, server.address, timing);
    return client.measure(job, role === "server" ? server : client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [this.#load, ...this.#servers.values(), ...this.#clients.values()];
    await Promise.all(all.map((child) => child[Symbol.asyncDispose]()));
  }

  #program(peer: Peer, role: Role): Program {
    if (peer === "grpc-go") return [this.#go!, role];
    // The program of that checkout, which imports the source of that checkout.
    if (peer === "before") return [join(this.#checkout!, "bench", `${role}s`, "hawser.ts")];
    return [here(`./${role}s/${peer}.ts`)];
  }
}
