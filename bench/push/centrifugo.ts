/** Centrifugo as a server under test: installed if Go is on the PATH, and started with its defaults. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { sleep } from "../../src/flow/wait.ts";
import { cpuMsOf, type UnderTest } from "../child.ts";

export const CENTRIFUGO = "v6.9.1";

const MODULE = "github.com/centrifugal/centrifugo/v6";
const cache = join(import.meta.dirname, "../../.cache/bench");
const binary = join(cache, "centrifugo");

/** The time limit for the start of Centrifugo. */
const START_MS = 10_000;

/** Every client may subscribe and post; all other options have their defaults. */
const config = {
  client: { allow_anonymous_connect_without_token: true },
  channel: {
    without_namespace: { allow_subscribe_for_client: true, allow_subscribe_for_anonymous: true },
  },
  http_api: { insecure: true },
  health: { enabled: true },
  usage_stats: { disabled: true },
};

/**
 * Installs Centrifugo once, which takes a few minutes if Go has none of its modules. Returns the reason if Centrifugo
 * cannot be installed.
 */
export function installCentrifugo(): string | undefined {
  const stamp = join(cache, `centrifugo-${CENTRIFUGO}`);
  if (existsSync(stamp) && existsSync(binary)) return undefined;
  mkdirSync(cache, { recursive: true });
  console.log(`go install ${MODULE}@${CENTRIFUGO}`);
  const installed = spawnSync("go", ["install", `${MODULE}@${CENTRIFUGO}`], {
    env: { ...process.env, GOBIN: cache },
    encoding: "utf8",
  });
  if (installed.error !== undefined) return "Go is not on the PATH";
  if (installed.status !== 0) return `go install failed: ${installed.stderr.slice(-500)}`;
  writeFileSync(stamp, "");
  return undefined;
}

/** Whether Centrifugo is installed: a quick run does not wait for the installation. */
export function hasCentrifugo(): boolean {
  return existsSync(binary);
}

export class Centrifugo implements AsyncDisposable, UnderTest {
  readonly address: string;
  readonly #process: ChildProcess;

  private constructor(address: string, process: ChildProcess) {
    this.address = address;
    this.#process = process;
  }

  static async start(): Promise<Centrifugo> {
    const port = await freePort();
    const file = join(cache, "centrifugo.json");
    writeFileSync(file, JSON.stringify(config));
    const args = [
      "-c",
      file,
      "--http_server.address",
      "127.0.0.1",
      "--http_server.port",
      `${port}`,
    ];
    const child = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr = `${stderr}${chunk}`.slice(-2000);
    });
    // Centrifugo would keep running after this process.
    process.once("exit", () => child.kill("SIGKILL"));
    const server = new Centrifugo(`127.0.0.1:${port}`, child);
    for (const from = performance.now(); !(await server.#isHealthy()); await sleep(50, undefined)) {
      if (child.exitCode === null && performance.now() - from < START_MS) continue;
      await server[Symbol.asyncDispose]();
      throw new Error(`Centrifugo did not start: ${stderr}`);
    }
    return server;
  }

  cpuMs(): number {
    return cpuMsOf(this.#process.pid!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await exited;
  }

  async #isHealthy(): Promise<boolean> {
    return await fetch(`http://${this.address}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
