import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { FROM_SOURCE } from "../../support/child.ts";
import { type CallTimes, honest } from "../../support/honest.ts";
import type { Attack } from "./attack.ts";
import type { Report } from "./attacker.ts";
import { makeRooms, opensSession, posts, resumes } from "./honest-calls.ts";
import type { HostileMessage } from "./hostile.ts";
import { type AttackedServer, GRACE_MS, startServer } from "./server.ts";

/** Whether the attacker has an address of its own, or shares that of the honest client, as behind a NAT. */
export type Column = "own" | "shared";

/** How long the parts of a row last. */
export interface Pace {
  /** How long the server is warmed up, and how long the attack runs again before SIGTERM. */
  readonly warmUpMs: number;
  readonly quietMs: number;
  /** Default: that of the attack. */
  readonly attackMs?: number;
  /** How long after the attack the memory is measured. `undefined`: it is not. */
  readonly settleMs?: number;
}

/** What was measured in a row of the table. */
export interface Row {
  readonly attack: Attack;
  readonly size: number;
  readonly column: Column;
  /** The honest calls before the attack, during it, and after it. */
  readonly before: CallTimes;
  readonly during: CallTimes;
  readonly after: CallTimes;
  /** The resumes of an honest session during the attack, if they were measured. */
  readonly resumed: CallTimes | undefined;
  /** Whether a new honest client got a session during the attack. */
  readonly opensSession: boolean;
  readonly report: Report;
  readonly peakRssMib: number;
  /** What is in use after the attack beyond what was before, if it was measured. */
  readonly keptMib: number | undefined;
  readonly diskMib: number;
  /** How long the server took to end at SIGTERM, while the attack ran again. */
  readonly endedMs: number;
}

/** The address of the honest client, which the system chooses. */
const HONEST_ADDRESS = "127.0.0.1";

/** The loopback addresses from which an attack comes. */
function addressesOf({ attack, size, column }: Omit<RowOptions, "pace">): string[] {
  if (column === "shared") return [HONEST_ADDRESS];
  const count = attack.sizes[size]?.addresses ?? 1;
  return Array.from({ length: count }, (_, n) => `127.0.0.${n + 2}`);
}

const ATTACK_MS = 8000;

/** A new session is opened when this part of the attack is over. */
const SESSION_AT = 0.7;

/** A server that does not end is killed. */
const END_PATIENCE_MS = GRACE_MS + 15_000;

export interface RowOptions {
  readonly attack: Attack;
  readonly size: number;
  readonly column: Column;
  readonly pace: Pace;
}

/** Runs an attack against a server of its own, an honest client beside it. */
export async function runRow({ attack, size, column, pace }: RowOptions): Promise<Row> {
  const { warmUpMs, quietMs, attackMs = attack.lastsMs ?? ATTACK_MS, settleMs } = pace;
  await using server = await startServer({ onDisk: attack.onDisk ?? false });
  await makeRooms(server.url, attack.rooms ?? 0);
  const client = await honest(server.url, attack.beside === "post" ? posts : undefined);
  await using _client = client;
  await client.calls(warmUpMs);
  const startMib = settleMs === undefined ? 0 : await server.memoryMib();
  const before = await client.calls(quietMs);
  const hostile = await startHostile({ attack, size, column, server, lastsMs: attackMs });
  const [during, resumed, opens] = await Promise.all([
    client.calls(attackMs),
    attack.resumes ? resumes(server.port, attackMs) : undefined,
    setTimeout(attackMs * SESSION_AT).then(() => opensSession(server.url)),
  ]);
  const report = await hostile.report();
  await hostile[Symbol.asyncDispose]();
  const after = await client.calls(quietMs);
  const peakRssMib = server.peakRssMib();
  const diskMib = server.diskMib();
  let keptMib: number | undefined;
  if (settleMs !== undefined) {
    await setTimeout(settleMs + (attack.leavesForMs ?? 0));
    keptMib = (await server.memoryMib()) - startMib;
  }
  await using _again = await startHostile({ attack, size, column, server, lastsMs: 30_000 });
  await setTimeout(warmUpMs);
  const endedMs = await server.terminate(END_PATIENCE_MS);
  return {
    ...{ attack, size, column, before, during, after, resumed, report },
    ...{ opensSession: opens, peakRssMib, keptMib, diskMib, endedMs },
  };
}

interface Hostile extends AsyncDisposable {
  report(): Promise<Report>;
}

interface HostileInit {
  readonly attack: Attack;
  readonly size: number;
  readonly column: Column;
  readonly server: AttackedServer;
  readonly lastsMs: number;
}

/** Starts an attack in a process of its own; resolves when it begins. */
async function startHostile(init: HostileInit): Promise<Hostile> {
  const { attack, size, column, server, lastsMs } = init;
  const program = fileURLToPath(new URL("./hostile.ts", import.meta.url));
  const addresses = addressesOf({ attack, size, column });
  const words = [attack.name, size, server.port, lastsMs, addresses].map(String);
  const child = fork(program, words, { execArgv: [FROM_SOURCE], stdio: "inherit" });
  const ended = once(child, "close");
  const next = async (isWanted: (message: HostileMessage) => boolean) => {
    for (;;) {
      const [message] = await Promise.race([once(child, "message"), failed(ended, attack)]);
      if (isWanted(message)) return message;
    }
  };
  await next((message) => message === "begins");
  return {
    async report() {
      child.send("report");
      return await next((message) => typeof message === "object");
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

async function failed(ended: Promise<unknown[]>, { name }: Attack): Promise<never> {
  const [code, signal] = await ended;
  throw new Error(`the attack ${name} ended with ${code ?? signal}`);
}
