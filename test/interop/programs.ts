/** The peers' programs, and how they are started and ended. They exit when their standard input ends, so none outlives this process. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MODULE = fileURLToPath(new URL("./go", import.meta.url));
/** Where what is built and installed for interop lies. */
export const BIN = fileURLToPath(new URL("../../.cache/interop/", import.meta.url));

const PYTHON = fileURLToPath(new URL("./python/", import.meta.url));
const VENV = fileURLToPath(new URL("../../.cache/interop/venv/bin/python", import.meta.url));
const PROTO = fileURLToPath(new URL("../../proto/example", import.meta.url));

/** A gRPC that we did not write, and how its Greeter programs are started. */
export interface Peer {
  readonly name: string;
  readonly client: readonly string[];
  readonly server: readonly string[];
}

export const go: Peer = { name: "Go", client: [`${BIN}client`], server: [`${BIN}server`] };

export const python: Peer = {
  name: "Python",
  client: [VENV, `${PYTHON}client.py`],
  server: [VENV, `${PYTHON}server.py`],
};

const running = new Set<() => void>();

/** Ends all that runs. */
export function endPrograms(): void {
  for (const kill of running) kill();
}

// Also after an error that nobody handles.
process.on("exit", endPrograms);

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

/** Whether grpcio is where README.md says how to put it. */
export function hasPython(): boolean {
  return existsSync(VENV);
}

/** Runs a program that builds something; rejects if it fails. */
export async function make(
  program: string,
  args: string[],
  { cwd, env }: { cwd: string; env?: Record<string, string> },
): Promise<void> {
  const child = spawn(program, args, {
    cwd,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  const exited = exitOf(child);
  endsWithUs(() => child.kill("SIGKILL"), exited);
  const code = await exited;
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} exited with ${code}`);
}

export async function buildGo(): Promise<void> {
  mkdirSync(BIN, { recursive: true });
  await make("go", ["build", "-o", BIN, "./server", "./client", "./transcript"], { cwd: MODULE });
}

/** Generates the messages and stubs that the Python programs import. */
export async function buildPython(): Promise<void> {
  mkdirSync(`${BIN}python`, { recursive: true });
  const out = [`--python_out=${BIN}python`, `--grpc_python_out=${BIN}python`];
  await make(VENV, ["-m", "grpc_tools.protoc", `-I${PROTO}`, ...out, "greeter.proto"], {
    cwd: PROTO,
  });
}

interface Program {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
}

function run(command: readonly string[], onLine: (line: string) => void): Program {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: {
      ...process.env,
      PYTHONPATH: `${BIN}python`,
      // It logs each handshake that fails as asked.
      GRPC_VERBOSITY: "NONE",
      // Not beside the sources.
      PYTHONPYCACHEPREFIX: `${BIN}python/cache`,
    },
  });
  child.stdin.on("error", () => {});
  createInterface({ input: child.stdout }).on("line", onLine);
  const exited = exitOf(child);
  endsWithUs(() => child.kill("SIGKILL"), exited);
  return { child, exited };
}

/** The exit code of a program, or the signal that ended it. */
export type Exit = number | NodeJS.Signals;

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? (signal as NodeJS.Signals)));
  });
}

/** Runs scenarios of a peer's client, all that need no special server by default. */
export function runClient(
  { client }: Peer,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<Exit> {
  return run([...client, ...args], onLine).exited;
}

export interface PeerServer extends AsyncDisposable {
  /** HOST:PORT, or the path of a Unix socket. */
  readonly address: string;
  /** Resolves with 0 after a graceful shutdown, when the final call has ended. */
  readonly exited: Promise<Exit>;
  kill(): void;
}

export async function startServer(peer: Peer, ...flags: string[]): Promise<PeerServer> {
  const listening = Promise.withResolvers<string>();
  const { child, exited } = run([...peer.server, ...flags], (line) => {
    const address = /^listening (.+)$/.exec(line)?.[1];
    if (address !== undefined) listening.resolve(address);
  });
  exited.then((code) => listening.reject(new Error(`the ${peer.name} server exited with ${code}`)));
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
