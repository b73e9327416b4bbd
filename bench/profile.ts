/** Measures where the time goes: rows under Node's CPU profiler, one after the other, in new processes. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "./child.ts";
import { cpuPerMillion } from "./measure.ts";
import { machine, today } from "./method.ts";
import { type Cell, jobOf, LARGE, MEDIUM, nameOf, type Role, roles, SMALL } from "./plan.ts";
import { chart, page } from "./profile-page.ts";
import { type CpuProfile, type Divided, divide } from "./profile-parts.ts";
import { loadProgram, type Programs, programOf } from "./programs.ts";

/** The rows that are profiled. */
const profiled: readonly Cell[] = [
  { workload: "unary", streams: 100, size: SMALL },
  { workload: "ping-pong", streams: 100, size: SMALL },
  { workload: "pipelined", streams: 100, size: MEDIUM },
  { workload: "push", streams: 1, size: MEDIUM },
  { workload: "pipelined", streams: 1, size: LARGE },
];

const warmUp = { warmMs: 0, measureMs: 2000 };
const timing = { warmMs: 0, measureMs: 4000 };

/** Between two samples, in µs. */
const INTERVAL_US = 500;

/** A row with its profile. */
export interface Profiled {
  readonly role: Role;
  readonly cell: Cell;
  /** CPU seconds per million messages, with the profiler. */
  readonly cpu: number;
  readonly divided: Divided;
}

export async function profile(programs: Programs): Promise<void> {
  const rows: Profiled[] = [];
  for (const role of roles) {
    for (const cell of profiled) {
      console.log(`${role}, ${nameOf(cell)}`);
      rows.push(await profileRow(programs, role, cell));
    }
  }
  const method = { date: today(), machine: machine(), ...timing };
  const file = (name: string) => new URL(name, import.meta.url);
  writeFileSync(file("../docs/where-the-time-goes.md"), page(rows, method));
  writeFileSync(file("profile.svg"), chart(rows));
  console.log("wrote docs/where-the-time-goes.md and bench/profile.svg");
}

async function profileRow(programs: Programs, role: Role, cell: Cell): Promise<Profiled> {
  const directory = mkdtempSync(join(tmpdir(), "hawser-profile-"));
  try {
    const { cpu, ...period } = await runProfiled(programs, { role, cell, directory });
    const [file = ""] = readdirSync(directory);
    const profile: CpuProfile = JSON.parse(readFileSync(join(directory, file), "utf8"));
    return { role, cell, cpu, divided: divide(profile, period) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Runs a row whose process writes its profile into a directory. Returns its cost, and the period that was measured. */
async function runProfiled(
  programs: Programs,
  { role, cell, directory }: { role: Role; cell: Cell; directory: string },
) {
  const flags = ["--cpu-prof", `--cpu-prof-interval=${INTERVAL_US}`, `--cpu-prof-dir=${directory}`];
  const start = (of: Role) =>
    Child.start(`hawser ${of}`, programOf("hawser", of, programs), of === role ? flags : []);
  await using server = await start("server");
  await using client =
    role === "server" ? await Child.start("load", loadProgram(programs)) : await start("client");
  const underTest = role === "server" ? server : client;
  await client.measure(jobOf(cell, server, warmUp), underTest);
  const fromUs = nowUs();
  const measured = await client.measure(jobOf(cell, server, timing), underTest);
  return { cpu: cpuPerMillion(measured), fromUs, untilUs: nowUs() };
}

/** The time on the clock of profiles, which all processes of a machine share. */
function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
