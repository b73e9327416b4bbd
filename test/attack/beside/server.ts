/** The example server in a process of its own, as `npm start` runs it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { FROM_SOURCE } from "../../support/child.ts";

/** How long the server's calls may continue after SIGTERM. */
export const GRACE_MS = 2000;

export interface AttackedServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** The heap and external memory in use after a collection, in MiB. */
  memoryMib(): Promise<number>;
  /** The highest resident memory so far, in MiB. */
  peakRssMib(): number;
  /** The size of the rooms on disk, in MiB. */
  diskMib(): number;
  /** Sends SIGTERM. Resolves with how long the server took to end, at most `patienceMs`. */
  terminate(patienceMs: number): Promise<number>;
}

export async function startServer({ onDisk = false } = {}): Promise<AttackedServer> {
  const directory = onDisk ? mkdtempSync(join(tmpdir(), "hawser-attack-")) : undefined;
  const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
  const node = ["--expose-gc", FROM_SOURCE, "--import", file("./memory-report.ts")];
  const rooms = directory === undefined ? ["--log", "memory"] : ["--data", directory];
  const words = ["--json", "--port", "0", "--grace", `${GRACE_MS}ms`, ...rooms];
  const child = spawn(process.execPath, [...node, file("../../../examples/server.ts"), ...words], {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  const ended = once(child, "close");
  const url = await urlOf(child.stdout as Readable);
  return {
    url,
    port: Number(new URL(url).port),
    async memoryMib() {
      child.send("memory");
      const [bytes] = await once(child, "message");
      return bytes / 2 ** 20;
    },
    peakRssMib() {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      const [, kib] = status.match(/^VmHWM:\s+(\d+) kB$/m) ?? [];
      return Number(kib) / 1024;
    },
    diskMib: () => (directory === undefined ? 0 : bytesOf(directory) / 2 ** 20),
    async terminate(patienceMs) {
      const began = performance.now();
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
      await ended;
      clearTimeout(timer);
      return performance.now() - began;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
      if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The address that a server prints first. All that it prints later is read too, and dropped. */
async function urlOf(stdout: Readable): Promise<string> {
  const [line] = await once(createInterface({ input: stdout }), "line");
  return JSON.parse(line).url;
}

function bytesOf(directory: string): number {
  return readdirSync(directory)
    .map((name) => statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0);
}
