/** A server in a separate process, whose CPU and memory can be read. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { FROM_SOURCE } from "../support/child.ts";
import type { TargetReport } from "./server.ts";

export interface Target extends AsyncDisposable {
  readonly port: number;
  /** The CPU time of all threads of the process so far, in milliseconds. */
  cpuMs(): number;
  /** The resident memory of the process, in MiB. */
  rssMib(): number;
  /** The highest resident memory of the process so far, in MiB. */
  peakRssMib(): number;
  /** Has the process collect its garbage, and returns what it holds. */
  report(): Promise<TargetReport>;
}

export interface TargetOptions {
  /** Options of Node. */
  readonly node?: readonly string[];
  /** The handlers: those of the interop suite, or a Chat that does nothing but echo, and so costs the least. */
  readonly greeter?: "switched" | "echo";
}

export async function startTarget(options: TargetOptions = {}): Promise<Target> {
  const file = fileURLToPath(new URL("./server.ts", import.meta.url));
  const { node = [], greeter = "switched" } = options;
  const child = spawn(process.execPath, [...node, FROM_SOURCE, file, greeter], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done) throw new Error("the server process has ended");
    return value;
  };
  const port = Number(await line());
  const proc = `/proc/${child.pid}`;
  const mib = (field: string) => {
    const status = readFileSync(`${proc}/status`, "utf8");
    const [, kib] = status.match(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m")) ?? [];
    return Math.round(Number(kib) / 1024);
  };
  return {
    port,
    cpuMs() {
      let ns = 0;
      for (const task of readdirSync(`${proc}/task`)) {
        ns += Number(readFileSync(`${proc}/task/${task}/schedstat`, "latin1").split(" ")[0]);
      }
      return ns / 1e6;
    },
    rssMib: () => mib("VmRSS"),
    peakRssMib: () => mib("VmHWM"),
    async report() {
      child.stdin.write("\n");
      return JSON.parse(await line());
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}
