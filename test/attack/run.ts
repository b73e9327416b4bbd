/**
 * npm run attack              all of it; ~8 minutes
 * npm run attack -- beside    how a server serves an honest client beside a hostile one; --only B1 for one of those
 * npm run attack -- floods    frames that bring nothing: when the connection ends, and the CPU; --only PING for some
 * npm run attack -- holds     clients that make the server wait
 * npm run attack -- unread    clients that send and never read: the memory that they make the server hold
 * npm run attack -- honest    what must not be taken for a flood or a hold; ~2.5 minutes
 *
 * Server, hostile client and honest client are a process each. The honest client makes 25 calls a second and waits 4 s for
 * each: before the hostile client comes, while it runs, and after it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type CallTimes, honest } from "../support/honest.ts";
import { startExampleServer } from "../support/program.ts";
import { tryFloods } from "./floods.ts";
import { tryHolds } from "./holds.ts";
import { tryHonestClients } from "./honest.ts";
import { hostileClients } from "./hostile-clients.ts";
import { tryUnread } from "./unread.ts";
import { allIsWell } from "./verdict.ts";

const QUIET_MS = 2000;
const ATTACK_MS = 8000;
const AFTER_MS = 8000;

const { values, positionals } = parseArgs({
  options: { only: { type: "string" } },
  allowPositionals: true,
});
const isChosen = (part: string) => positionals.length === 0 || positionals.includes(part);

if (isChosen("beside")) await beside();
if (isChosen("floods")) await tryFloods(values.only);
if (isChosen("holds")) await tryHolds();
if (isChosen("unread")) await tryUnread();
if (isChosen("honest")) await tryHonestClients();
// Node does not exit by itself if a connection was reset while it was being ended.
process.exit(allIsWell() ? 0 : 1);

async function beside(): Promise<void> {
  for (const { name, does } of hostileClients) {
    if (values.only !== undefined && values.only !== name) continue;
    console.log(`\n${name}: ${does}`);
    await attack(name);
  }
}

async function attack(name: string): Promise<void> {
  await using server = await startExampleServer("--grace", "0s");
  await using client = await honest(server.url);
  say("before", await client.calls(QUIET_MS), rssMib(server.pid));
  const hostile = come(name, server.url);
  const during = await client.calls(ATTACK_MS);
  say("during", during, rssMib(server.pid));
  await hostile[Symbol.asyncDispose]();
  say("after", await client.calls(AFTER_MS), rssMib(server.pid));
  await using _again = come(name, server.url);
  await pause(2000);
  const toldAt = performance.now();
  server.kill("SIGTERM");
  await Promise.race([server.ended, pause(30_000)]);
  console.log(`SIGTERM was honoured after ${Math.round(performance.now() - toldAt)} ms`);
}

function come(name: string, url: string): AsyncDisposable {
  const program = fileURLToPath(new URL("./hostile-clients.ts", import.meta.url));
  const child = spawn(process.execPath, [program, name, new URL(url).port], { stdio: "ignore" });
  const left = once(child, "close");
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await left;
    },
  };
}

function say(when: string, { calls, failed, p50, p99 }: CallTimes, rss: string): void {
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const took = `p50 ${ms(p50)}, p99 ${ms(p99)}`;
  console.log(
    `${when.padEnd(9)} ${calls} calls, ${failed} failed, ${took}; the server's RSS ${rss}`,
  );
}

function rssMib(pid: number): string {
  const [, kib] = readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+) kB/) ?? [];
  return `${Math.round(Number(kib) / 1024)} MiB`;
}
