/** Measurements of the benchmark, as a full run makes them. */
import type { Measured, Memory } from "../../bench/child.ts";
import type { Findings } from "../../bench/limits.ts";
import { Results } from "../../bench/measure.ts";
import {
  type Cell,
  cells,
  type Peer,
  peers,
  peersOverTls,
  type Role,
  roles,
  tlsCells,
} from "../../bench/plan.ts";

/** A measurement: of a peer in a role, in a row, in a round. */
export interface At {
  readonly role: Role;
  readonly cell: Cell;
  readonly peer: Peer;
  readonly round: number;
}

/** 1,000 messages a second that cost 1 µs each. */
export const measured: Measured = {
  messages: 1000,
  posts: 0,
  ms: 1000,
  cpuMs: 1,
  p50Us: 100,
  p99Us: 900,
};

/** Returns the measurements of rounds in which every peer has the same figures, except what `change` returns. */
export function findings({
  rounds = 5,
  present = peers,
  change = () => ({}),
  memory = () => ({ used: 1024, rss: 4096 }),
}: {
  rounds?: number;
  /** The peers that the machine can run. */
  present?: readonly Peer[];
  change?: (at: At) => Partial<Measured>;
  memory?: (role: Role, peer: Peer) => Memory;
} = {}): Findings {
  const found = {
    cleartext: new Results(),
    tls: new Results(),
    idle: new Map<`${Role} ${Peer}`, Memory>(),
  };
  const isPresent = (peer: Peer) => !["grpc-go", "tonic"].includes(peer) || present.includes(peer);
  const fill = (results: Results, [role, cell]: [Role, Cell], of: readonly Peer[]) => {
    for (let round = 0; round < rounds; round++) {
      const row = of
        .filter((peer) => isPresent(peer.replace(" TLS", "") as Peer))
        .map((peer) => [peer, { ...measured, ...change({ role, cell, peer, round }) }] as const);
      results.rounds(role, cell).push(new Map(row));
    }
  };
  for (const role of roles) {
    for (const cell of cells) fill(found.cleartext, [role, cell], [...peers, "socket"]);
    for (const cell of tlsCells) fill(found.tls, [role, cell], peersOverTls(role, cell));
    for (const peer of present) found.idle.set(`${role} ${peer}`, memory(role, peer));
  }
  return found;
}
