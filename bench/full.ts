/** Measures the whole comparison: every row with every peer, in five rounds and both roles. */
import { writeFileSync } from "node:fs";
import { chart } from "./chart.ts";
import { idleBytes, measureRound, Results } from "./measure.ts";
import { cells, idleStreams, type Peer, type Role, roles } from "./plan.ts";
import { report } from "./report.ts";
import type { World } from "./world.ts";

const rounds = 5;
const timing = { warmMs: 250, measureMs: 1000 };
const warmUp = { warmMs: 0, measureMs: 700 };

/** Bytes per idle stream. */
export type Idle = ReadonlyMap<`${Role} ${Peer}`, number>;

export async function full(world: World): Promise<void> {
  const results = new Results();
  for (let turn = -1; turn < rounds; turn++) {
    for (const role of roles) {
      console.log(turn < 0 ? `warm-up, ${role}s` : `round ${turn + 1} of ${rounds}, ${role}s`);
      for (const cell of cells) {
        const row = { role, cell, peers: world.peers };
        if (turn < 0) {
          await measureRound(world, row, { ...warmUp, turn: 0 });
        } else {
          const round = await measureRound(world, row, { ...timing, turn });
          results.rounds(role, cell).push(round);
        }
      }
    }
  }
  const idle = new Map<`${Role} ${Peer}`, number>();
  for (const role of roles) {
    for (const peer of world.peers) {
      console.log(`${idleStreams} idle streams, ${peer} as ${role}`);
      idle.set(`${role} ${peer}`, await idleBytes(world, { role, peer, streams: idleStreams }));
    }
  }
  const file = (name: string) => new URL(name, import.meta.url);
  writeFileSync(file("./RESULTS.md"), report(world, { results, idle }, { rounds, ...timing }));
  writeFileSync(file("./chart.svg"), chart(world.peers, results));
  console.log("wrote bench/RESULTS.md and bench/chart.svg");
}
