/** A server in a separate process, whose CPU can be read. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { FROM_SOURCE } from "../support/child.ts";

export interface Target extends AsyncDisposable {
  readonly port: number;
  /** The CPU time of all threads of the process so far, in milliseconds. */
  cpuMs(): number;
  /** The resident memory of the process, in MiB. */
  rssMib(): number;
}

export async function startTarget(): Promise<Target> {
  const file = fileURLToPath(new URL("./server.ts", import.meta.url));
  const child = spawn(process.execPath, [FROM_SOURCE, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const proc = `/proc/${child.pid}`;
  return {
    port: Number(line),
    cpuMs() {
      let ns = 0;
      for (const task of readdirSync(`${proc}/task`)) {
        ns += Number(readFileSync(`${proc}/task/${task}/schedstat`, "latin1").split(" ")[0]);
      }
      return ns / 1e6;
    },
    rssMib() {
      const [, kib] = readFileSync(`${proc}/status`, "utf8").match(/VmRSS:\s+(\d+) kB/) ?? [];
      return Math.round(Number(kib) / 1024);
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}
