/** The programs that are recorded. README.md says what they need. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "../../support/free-port.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const BIN = `${ROOT}.cache/interop/`;
const VENV = `${BIN}venv/bin/python`;
const PEERS = fileURLToPath(new URL("./peers/", import.meta.url));
const TONIC = `${ROOT}.cache/tonic/`;

export interface GrpcPeer {
  readonly name: string;
  readonly client: readonly string[];
  readonly server: readonly string[];
  /** The server for large messages, if it is another one. */
  readonly largeServer?: readonly string[];
}

export const grpcPeers: readonly GrpcPeer[] = [
  { name: "grpc-go", client: [`${BIN}transcript`], server: [`${BIN}server`] },
  {
    name: "grpcio",
    client: [VENV, `${PEERS}client.py`],
    server: [VENV, `${ROOT}test/interop/python/server.py`],
    largeServer: [VENV, `${PEERS}server.py`],
  },
  { name: "tonic", client: [`${TONIC}debug/client`], server: [`${TONIC}debug/server`] },
];

const env = {
  ...process.env,
  PYTHONPATH: `${BIN}python`,
  // tonic-prost-build runs it; peers/protoc is that of grpcio-tools.
  PROTOC: `${PEERS}protoc`,
  CARGO_TARGET_DIR: TONIC,
};

/** Runs a program to its end; rejects if it fails. */
export async function run(command: readonly string[], cwd = ROOT): Promise<void> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { cwd, env, stdio: ["ignore", "ignore", "inherit"] });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${command.join(" ")} exited with ${code}`);
}

export async function buildPeers(): Promise<void> {
  await run(["go", "build", "-o", BIN, "./server", "./transcript"], `${ROOT}test/interop/go`);
  const out = [`--python_out=${BIN}python`, `--grpc_python_out=${BIN}python`];
  const proto = `${ROOT}proto/example`;
  await run(["mkdir", "-p", `${BIN}python`]);
  await run([VENV, "-m", "grpc_tools.protoc", `-I${proto}`, ...out, "greeter.proto"], proto);
  await run(["cargo", "build", "--quiet"], `${PEERS}tonic`);
}

export interface RunningServer extends AsyncDisposable {
  readonly address: string;
}

/** Starts a server that prints its address. */
export async function startServer(command: readonly string[]): Promise<RunningServer> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { env, stdio: ["pipe", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const address = /^listening (.+)$/.exec(line)?.[1];
    if (address !== undefined) return { address, ...untilDisposed(child) };
  }
  throw new Error(`${command.join(" ")} ended without an address`);
}

/** Starts nghttpd on a port that was free. */
export async function startNghttpd(options: readonly string[]): Promise<RunningServer> {
  const port = await freePort();
  const args = ["--no-tls", "--address=127.0.0.1", ...options, `${port}`];
  const child = spawn("nghttpd", args, { stdio: ["ignore", "ignore", "inherit"] });
  const exited = once(child, "close").then(() => true);
  // nghttpd does not tell when it listens.
  while (!(await accepts(port))) {
    if (await Promise.race([exited, setTimeout(20, false)])) throw new Error("nghttpd exited");
  }
  return { address: `127.0.0.1:${port}`, ...untilDisposed(child) };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("connect", () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

/** Starts Chromium on a page. */
export function startChromium(url: string): AsyncDisposable {
  const profile = mkdtempSync(join(tmpdir(), "chromium-"));
  const flags = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
  ];
  const args = [...flags, "--ignore-certificate-errors", `--user-data-dir=${profile}`, url];
  const child = spawn("chromium", args, { stdio: "ignore" });
  const running = untilDisposed(child);
  return {
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]();
      rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

function untilDisposed(child: ChildProcess): AsyncDisposable {
  const closed = once(child, "close");
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await closed;
    },
  };
}
