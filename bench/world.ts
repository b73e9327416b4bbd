/** Starts and ends all programs of a run. */
import { Child, type Measured } from "./child.ts";
import type { Job } from "./commands.ts";
import { type Cell, jobOf, type Peer, peers, type Role, withoutTls } from "./plan.ts";
import { loadProgram, type Programs, programOf } from "./programs.ts";
import { authorityFile } from "./tls.ts";

export class World implements AsyncDisposable {
  /** The peers that this machine can run. */
  readonly peers: readonly Peer[];
  /** The load, in words. */
  readonly loadName: string;
  readonly #programs: Programs;
  /** By role and peer. A program starts when it is measured first. */
  readonly #children = new Map<string, Promise<Child>>();
  #load!: Child;

  private constructor(programs: Programs) {
    const { go, checkout } = programs;
    this.#programs = programs;
    this.peers =
      checkout === undefined ? peers.filter((peer) => this.has(peer)) : ["hawser", "before"];
    this.loadName = go === undefined ? "raw node:http2 (bench/load.ts)" : "grpc-go (bench/go)";
  }

  /** With the `checkout` of another Hawser, that is the only other peer. */
  static async start(programs: Programs): Promise<World> {
    const world = new World(programs);
    world.#load = await world.startLoad();
    return world;
  }

  /** Whether this machine can run a peer. */
  has(peer: Peer): boolean {
    const { name } = withoutTls(peer);
    if (name === "grpc-go") return this.#programs.go !== undefined;
    if (name === "tonic") return this.#programs.rust !== undefined;
    return true;
  }

  startLoad(): Promise<Child> {
    return Child.start("load", loadProgram(this.#programs));
  }

  start(peer: Peer, role: Role): Promise<Child> {
    return Child.start(`${peer} ${role}`, programOf(peer, role, this.#programs));
  }

  /**
   * The server for all clients under test. It is Hawser's: every other server pushes more slowly than the fastest client
   * reads, so that client would only be as fast as the server.
   */
  readonly target: Peer = "hawser";

  /** Measures a row once, with one peer in one role. */
  async measure(
    { role, peer, cell }: { role: Role; peer: Peer; cell: Cell },
    timing: Pick<Job, "warmMs" | "measureMs">,
  ): Promise<Measured> {
    const { name, tls } = withoutTls(peer);
    const target: Peer = tls ? "hawser TLS" : this.target;
    const server = await this.#child(role === "server" ? peer : target, "server");
    const loads = role === "server" && name !== "socket";
    const client = loads ? this.#load : await this.#child(peer, "client");
    const { address } = server;
    const job = jobOf(cell, { address, ...(tls && { ca: authorityFile }) }, timing);
    return client.measure(job, role === "server" ? server : client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [this.#load, ...(await Promise.all(this.#children.values()))];
    await Promise.all(all.map((child) => child[Symbol.asyncDispose]()));
  }

  #child(peer: Peer, role: Role): Promise<Child> {
    const key = `${role} ${peer}`;
    const running = this.#children.get(key) ?? this.start(peer, role);
    this.#children.set(key, running);
    return running;
  }
}
