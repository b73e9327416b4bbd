/** The client and the server of grpc-go's own interop suite: installed, started and ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BIN, endsWithUs, make } from "./programs.ts";

const FOLDER = `${BIN}grpc-go/`;

/** The version of grpc-go that the Greeter programs are built with. */
function version(): string {
  const module = readFileSync(new URL("./go/go.mod", import.meta.url), "utf8");
  const pinned = /^\s*google\.golang\.org\/grpc (v\S+)$/m.exec(module)?.[1];
  if (pinned === undefined) throw new Error("go/go.mod names no version of google.golang.org/grpc");
  return pinned;
}

export async function installSuite(): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  const packages = ["client", "server"].map(
    (program) => `google.golang.org/grpc/interop/${program}@${version()}`,
  );
  const here = fileURLToPath(new URL(".", import.meta.url));
  await make("go", ["install", ...packages], { cwd: here, env: { GOBIN: FOLDER } });
}

function start(program: "client" | "server", flags: string[]): ChildProcess {
  const child = spawn(`${FOLDER}${program}`, flags, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, GRPC_GO_LOG_SEVERITY_LEVEL: "info" },
  });
  endsWithUs(() => child.kill("SIGKILL"), once(child, "close"));
  child.stderr?.setEncoding("utf8");
  return child;
}

/** Runs one case of the suite's client; rejects with what it logs if it fails. */
export async function runSuiteClient(...flags: string[]): Promise<void> {
  const child = start("client", ["-server_host=127.0.0.1", ...flags]);
  let log = "";
  child.stderr?.on("data", (text: string) => {
    log += text;
  });
  const [code] = await once(child, "close");
  if (code === 0) return;
  const fatal = /^.*\bFATAL\b.*$/m.exec(log)?.[0] ?? log.slice(-300);
  throw new Error(`exit code ${code}: ${fatal}`);
}

export interface SuiteServer extends AsyncDisposable {
  readonly port: number;
}

/** It listens on all addresses of the machine, and tells its port in its log. */
export async function startSuiteServer(...flags: string[]): Promise<SuiteServer> {
  const child = start("server", ["-port=0", ...flags]);
  const closed = once(child, "close");
  const port = await new Promise<number>((resolve, reject) => {
    let log = "";
    child.stderr?.on("data", (text: string) => {
      log += text;
      const listening = /interop server listening on \S+:(\d+)/.exec(log)?.[1];
      if (listening !== undefined) resolve(Number(listening));
    });
    closed.then(([code]) => reject(new Error(`the server exited with ${code}: ${log}`)), reject);
  });
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}
