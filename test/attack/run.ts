/**
 * npm run attack              what an honest client feels of a server while a stranger takes what it can; ~2 minutes
 * npm run attack -- --only B1 one of them
 *
 * Server, stranger and honest client are a process each. The honest client makes 25 calls a second and waits 4 s for
 * each: before the stranger comes, while it is there, and when it has left.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Felt, honest } from "../support/honest.ts";
import { startExampleServer } from "../support/program.ts";
import { strangers } from "./strangers.ts";

const QUIET_MS = 2000;
const ATTACK_MS = 8000;
const AFTER_MS = 8000;

const { values } = parseArgs({ options: { only: { type: "string" } } });

for (const { name, does } of strangers) {
  if (values.only !== undefined && values.only !== name) continue;
  console.log(`\n${name}: ${does}`);
  await attack(name);
}
// Node never comes to its end by itself where a connection was reset while it was ended.
process.exit(0);

async function attack(name: string): Promise<void> {
  await using server = await startExampleServer("--grace", "0s");
  await using client = await honest(server.url);
  say("before", await client.calls(QUIET_MS), rssMib(server.pid));
  const stranger = come(name, server.url);
  const during = await client.calls(ATTACK_MS);
  say("meanwhile", during, rssMib(server.pid));
  await stranger[Symbol.asyncDispose]();
  say("after", await client.calls(AFTER_MS), rssMib(server.pid));
  await using _again = come(name, server.url);
  await pause(2000);
  const toldAt = performance.now();
  server.kill("SIGTERM");
  await Promise.race([server.ended, pause(30_000)]);
  console.log(`SIGTERM was honoured after ${Math.round(performance.now() - toldAt)} ms`);
}

function come(name: string, url: string): AsyncDisposable {
  const program = fileURLToPath(new URL("./strangers.ts", import.meta.url));
  const child = spawn(process.execPath, [program, name, new URL(url).port], { stdio: "ignore" });
  const left = once(child, "close");
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await left;
    },
  };
}

function say(when: string, { calls, failed, p50, p99 }: Felt, rss: string): void {
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
