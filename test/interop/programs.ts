/** The Go programs, and how they are started and ended. None outlives this process: each ends with its standard input. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MODULE = fileURLToPath(new URL("./go", import.meta.url));
const BIN = fileURLToPath(new URL("../../.cache/interop/", import.meta.url));

const running = new Set<() => void>();

/** Ends all that runs. */
export function endPrograms(): void {
  for (const kill of running) kill();
}

/** Has endPrograms() end a program that has not exited by then. */
export function endsWithUs(kill: () => void, exited: Promise<unknown>): void {
  running.add(kill);
  const forget = () => running.delete(kill);
  exited.then(forget, forget);
}

export function hasGo(): boolean {
  try {
    execFileSync("go", ["version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export async function build(): Promise<void> {
  mkdirSync(BIN, { recursive: true });
  const child = spawn("go", ["build", "-o", BIN, "./server", "./client"], {
    cwd: MODULE,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const exited = codeOf(child);
  endsWithUs(() => child.kill("SIGKILL"), exited);
  if ((await exited) !== 0) throw new Error("go build failed");
}

interface Program {
  readonly child: ChildProcess;
  /** Its exit code; `null` where a signal ended it. */
  readonly exited: Promise<number | null>;
}

function run(name: string, args: string[], onLine: (line: string) => void): Program {
  const child = spawn(BIN + name, args, { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.on("error", () => {});
  createInterface({ input: child.stdout }).on("line", onLine);
  const exited = codeOf(child);
  endsWithUs(() => child.kill("SIGKILL"), exited);
  return { child, exited };
}

function codeOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
}

/** Runs scenarios of the Go client, all that need no special server by default. */
export function runClient(
  flags: string[],
  names: string[],
  onLine: (line: string) => void,
): Promise<number | null> {
  return run("client", [...flags, ...names], onLine).exited;
}

export interface GoServer extends AsyncDisposable {
  /** HOST:PORT, or the path of a Unix socket. */
  readonly address: string;
  /** Its exit code: 0 after a graceful shutdown, when its last call is over. */
  readonly exited: Promise<number | null>;
  kill(): void;
}

export async function startServer(...flags: string[]): Promise<GoServer> {
  const listening = Promise.withResolvers<string>();
  const { child, exited } = run("server", flags, (line) => {
    const address = /^listening (.+)$/.exec(line)?.[1];
    if (address !== undefined) listening.resolve(address);
  });
  exited.then((code) => listening.reject(new Error(`the Go server exited with ${code}`)));
  return {
    address: await listening.promise,
    exited,
    kill: () => void child.kill("SIGKILL"),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
