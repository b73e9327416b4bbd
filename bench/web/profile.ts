/** Measures where the time of an echo goes, of Hawser and of JSON arrays: in the server, and in the page. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type CpuProfile, type Divided, divide } from "../profile-parts.ts";
import type { Peer } from "./job.ts";
import { DEBUGGING_FLAGS, PageProfiler } from "./page-profiler.ts";
import { cpuUs, echoMedium, echoSmall } from "./plan.ts";
import { type Row, Stage } from "./stage.ts";

/** Between two samples of a server, in µs. */
const INTERVAL_US = 200;

const warmUp = { warmMs: 500, measureMs: 500 };
const timing = { warmMs: 300, measureMs: 2000 };

export const profiledPeers = ["hawser", "JSON arrays"] as const satisfies readonly Peer[];

export const profiledRows = [echoSmall, echoMedium];

/** One side of a row, with its profile. */
export interface ProfiledSide {
  readonly row: Row;
  readonly peer: Peer;
  readonly side: "server" | "page";
  /** The CPU of a message, in µs, with the profiler. */
  readonly cpu: number;
  readonly divided: Divided;
}

export async function profile(): Promise<ProfiledSide[]> {
  const sides: ProfiledSide[] = [];
  for (const row of profiledRows) {
    for (const peer of profiledPeers) {
      sides.push(...(await profileServer(peer, row)), ...(await profilePage(peer, row)));
    }
  }
  return sides;
}

/** Node writes a profile when a server ends: each row has a server of its own. */
async function profileServer(peer: Peer, row: Row): Promise<ProfiledSide[]> {
  const folder = mkdtempSync(join(tmpdir(), "hawser-profile-"));
  try {
    const flags = ["--cpu-prof", `--cpu-prof-interval=${INTERVAL_US}`, `--cpu-prof-dir=${folder}`];
    const { cpu, ...period } = await runProfiled(peer, row, flags);
    const profiles = readdirSync(folder).map(
      (file): CpuProfile => JSON.parse(readFileSync(join(folder, file), "utf8")),
    );
    // Both servers have written one; the other one was idle.
    const [busiest] = profiles
      .map((profile) => divide(profile, period))
      .sort((a, b) => b.totalUs - a.totalUs);
    return busiest === undefined ? [] : [{ row, peer, side: "server", cpu, divided: busiest }];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function runProfiled(peer: Peer, row: Row, flags: readonly string[]) {
  await using stage = await Stage.start(flags);
  await stage.load(peer, row, warmUp);
  const fromUs = nowUs();
  const measured = await stage.load(peer, row, timing);
  return { cpu: cpuUs("server")(measured), fromUs, untilUs: nowUs() };
}

async function profilePage(peer: Peer, row: Row): Promise<ProfiledSide[]> {
  await using stage = await Stage.start([], DEBUGGING_FLAGS);
  await stage.load(peer, row, warmUp);
  using profiler = await PageProfiler.attach(stage.browser);
  const running = stage.load(peer, row, timing);
  await sleep(timing.warmMs);
  const taken = await profiler.profile(timing.measureMs);
  const cpu = cpuUs("renderer")(await running);
  const divided = divide(taken, { fromUs: 0, untilUs: Number.POSITIVE_INFINITY });
  return [{ row, peer, side: "page", cpu, divided }];
}

/** The time on the clock of profiles, which all processes of a machine share. */
function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
