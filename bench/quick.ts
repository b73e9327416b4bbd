/**
 * Checks only the minimums, within a minute. Rounds are short. A row below its minimum is measured again while there is time:
 * if other work disturbed the machine the row then passes; a slow build stays below the minimum.
 */
import { idleBytes, measureRound, Results, speedRatio } from "./measure.ts";
import {
  type Cell,
  idlePeer,
  idleStreams,
  minimums,
  nameOf,
  nodePeers,
  type Peer,
  type Role,
  roles,
} from "./plan.ts";
import type { World } from "./world.ts";

const timing = { warmMs: 80, measureMs: 300 };
const rounds = 3;

export interface Verdict {
  ok: boolean;
  /** Hawser's speed divided by the peer's; for "idle stream": Hawser's bytes divided by the peer's. */
  ratios: Record<string, Partial<Record<Peer, number>>>;
  /** The rows below their minimums, in words. */
  missed: string[];
}

interface Row {
  role: Role;
  cell: Cell;
  minimumOf: Partial<Record<Peer, number>>;
}

/** @param untilMs the time to stop, on the clock of performance.now() */
export async function quick(world: World, untilMs: number): Promise<Verdict> {
  const results = new Results();
  const rows: Row[] = roles.flatMap((role) => minimums.map((minimum) => ({ role, ...minimum })));
  const checked = world.peers.filter((peer) => nodePeers.includes(peer));
  const measure = ({ role, cell }: Row, peers: readonly Peer[], turn: number) =>
    measureRound(world, { role, cell, peers }, { ...timing, turn: Math.max(turn, 0) });

  const verdict: Verdict = { ok: true, ratios: {}, missed: [] };
  await Promise.all(roles.map((role) => idle(world, role, verdict)));
  for (const row of rows) await measure(row, checked, -1); // warm-up
  for (let turn = 0; turn < rounds; turn++) {
    for (const row of rows) {
      // On a slow machine each row has fewer rounds, but at least one. One round of grpc-go and tonic is enough: they have no minimum.
      if (turn > 0 && performance.now() > untilMs) break;
      const peers = turn === 0 ? world.peers : checked;
      results.rounds(row.role, row.cell).push(await measure(row, peers, turn));
    }
  }

  const under = ({ role, cell, minimumOf }: Row) =>
    checked.filter((peer) => speedRatio(results.rounds(role, cell), peer) < (minimumOf[peer] ?? 0));
  for (let turn = rounds; rows.some((row) => under(row).length > 0); turn++) {
    if (performance.now() > untilMs) break;
    for (const row of rows) {
      const peers = under(row);
      if (peers.length === 0 || performance.now() > untilMs) continue;
      const more = await measure(row, ["hawser", ...peers], turn);
      results.rounds(row.role, row.cell).push(more);
    }
  }

  for (const row of rows) {
    const name = `${row.role} ${nameOf(row.cell)}`;
    const measured = results.rounds(row.role, row.cell);
    const peers = world.peers.filter((peer) => peer !== "hawser");
    verdict.ratios[name] = Object.fromEntries(
      peers.map((peer) => [peer, rounded(speedRatio(measured, peer))]),
    );
    for (const peer of under(row)) {
      verdict.missed.push(
        `${name}: ${speedRatio(measured, peer).toFixed(2)} × ${peer}, its minimum is ${row.minimumOf[peer]}`,
      );
    }
  }
  verdict.ok = verdict.missed.length === 0;
  return verdict;
}

/** Memory does not depend on time, so both peers are measured at the same time. */
async function idle(world: World, role: Role, verdict: Verdict): Promise<void> {
  const [ours, theirs] = await Promise.all([
    idleBytes(world, { role, peer: "hawser", streams: idleStreams }),
    idleBytes(world, { role, peer: idlePeer, streams: idleStreams }),
  ]);
  const name = `${role} idle stream`;
  verdict.ratios[name] = { [idlePeer]: rounded(ours.used / theirs.used) };
  if (ours.used > theirs.used) {
    verdict.missed.push(
      `${name}: ${Math.round(ours.used)} B, ${idlePeer}'s costs ${Math.round(theirs.used)} B`,
    );
  }
}

const rounded = (ratio: number) => Math.round(ratio * 100) / 100;
