/** Measures the whole comparison: every row with every peer, in rounds, in both roles. */
import { writeFileSync } from "node:fs";
import { overview, panels } from "./chart.ts";
import type { Memory } from "./child.ts";
import { type Checked, checkAll, type Findings, isLimit, lineOf, missedOf } from "./limits.ts";
import { idleBytes, measureRound, medianOf, Results } from "./measure.ts";
import { machine, today, withVersion } from "./method.ts";
import {
  cells,
  idleStreams,
  nameOf,
  type Peer,
  peersOverTls,
  type Role,
  roles,
  SMALL,
  tlsCells,
} from "./plan.ts";
import { report } from "./report.ts";
import type { World } from "./world.ts";

/** The limits hold for medians of at least this number of rounds. */
export const ROUNDS = 5;

const timing = { warmMs: 200, measureMs: 900 };
const warmUp = { warmMs: 0, measureMs: 600 };
/** The processes of a role have nothing to do while the other role is measured, and are slower for some seconds then. */
const FIRST_WARM_MS = 3000;
/** The processes over TLS do few rows, and V8 compiles for about three seconds of unary calls. */
const warmUpOverTls = { warmMs: 0, measureMs: 3000 };

/** Measures everything, writes the results, and returns the missed limits. */
export async function full(world: World, rounds: number): Promise<readonly Checked[]> {
  const found = {
    cleartext: new Results(),
    tls: new Results(),
    idle: new Map<`${Role} ${Peer}`, Memory>(),
  };
  // The rounds over TLS follow each other: their processes do few rows, and V8 would compile for them again in each round.
  for (const measure of [measureRows, measureTlsRows]) {
    for (let turn = -1; turn < rounds; turn++) {
      for (const role of roles) {
        const rows = measure === measureRows ? "" : ", over TLS";
        const round = turn < 0 ? "warm-up" : `round ${turn + 1} of ${rounds}`;
        console.log(`${round}, ${role}s${rows}`);
        await measure(world, found, { role, turn });
      }
    }
  }
  for (const role of roles) {
    for (const peer of world.peers) {
      console.log(`${idleStreams} idle streams, ${peer} as ${role}`);
      const memory = await idleBytes(world, { role, peer, streams: idleStreams });
      found.idle.set(`${role} ${peer}`, memory);
    }
  }
  write(world, found, rounds);
  return print(world, found);
}

/** A round of one role; -1 is the warm-up. */
interface Turn {
  readonly role: Role;
  readonly turn: number;
}

async function measureRows(world: World, { cleartext }: Findings, { role, turn }: Turn) {
  const all: readonly Peer[] = role === "server" ? [...world.peers, "socket"] : world.peers;
  const peers = all.filter((peer) => world.has(peer));
  for (const cell of cells) {
    const warmMs = cell === cells[0] ? FIRST_WARM_MS : timing.warmMs;
    const own = turn < 0 ? { ...warmUp, turn: 0 } : { ...timing, warmMs, turn };
    const round = await measureRound(world, { role, cell, peers }, own);
    if (turn >= 0) cleartext.rounds(role, cell).push(round);
  }
}

async function measureTlsRows(world: World, { tls }: Findings, { role, turn }: Turn) {
  for (const cell of tlsCells) {
    const peers = peersOverTls(role, cell).filter((peer) => world.has(peer));
    const own = turn < 0 ? { ...warmUpOverTls, turn: 0 } : { ...timing, turn };
    const round = await measureRound(world, { role, cell, peers }, own);
    if (turn >= 0) tls.rounds(role, cell).push(round);
  }
}

function write({ peers, loadName, target }: World, found: Findings, rounds: number): void {
  const method = {
    date: today(),
    machine: machine(),
    versions: peers.map(withVersion),
    ...{ peers, loadName, target, rounds, roundsOfLimits: ROUNDS, ...timing },
  };
  const files = {
    "RESULTS.md": report(method, found),
    "chart.svg": overview(peers, found.cleartext),
    "servers.svg": panels(peers, found.cleartext, "server"),
    "clients.svg": panels(peers, found.cleartext, "client"),
  };
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(new URL(name, import.meta.url), text);
    console.log(`wrote bench/${name}`);
  }
}

/** Prints each limit with what was measured. Returns those that were missed. */
function print(world: World, found: Findings): readonly Checked[] {
  const checked = checkAll(found);
  for (const one of checked) console.log(lineOf(one));
  const unary = { workload: "unary", streams: 100, size: SMALL } as const;
  for (const role of roles) {
    const rounds = found.cleartext.rounds(role, unary);
    for (const peer of world.peers) {
      const us = (key: "p50Us" | "p99Us") => Math.round(medianOf(rounds, peer, (m) => m[key]));
      console.log(
        `${role}, ${nameOf(unary)}, ${peer}: p50 ${us("p50Us")} µs, p99 ${us("p99Us")} µs`,
      );
    }
  }
  const limits = checked.filter(({ bound }) => isLimit(bound));
  const measured = limits.filter((one) => one.measured !== undefined);
  const missed = missedOf(checked);
  console.log(
    `${measured.length - missed.length} of ${measured.length} limits are met; ${limits.length - measured.length} were not measured`,
  );
  return missed;
}
