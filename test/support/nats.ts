import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { freePort } from "./free-port.ts";

/**
 * Where nats-server is: what HAWSER_NATS_SERVER says, on the PATH, in
 * /usr/sbin (Debian's package), or where `go install` puts it. Throws where
 * there is none and HAWSER_REQUIRE_NATS is 1.
 */
export function findNats(): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", goBin()];
  const places = [
    process.env.HAWSER_NATS_SERVER,
    ...folders.map((folder) => folder && join(folder, "nats-server")),
  ];
  const found = places.find((place) => place && existsSync(place));
  if (found === undefined && process.env.HAWSER_REQUIRE_NATS === "1") {
    throw new Error(
      "HAWSER_REQUIRE_NATS is 1, but nats-server is not installed: .ci/run installs it",
    );
  }
  return found;
}

function goBin(): string | undefined {
  try {
    const [bin, path] = execFileSync("go", ["env", "GOBIN", "GOPATH"], { encoding: "utf8" }).split(
      "\n",
    );
    return bin || join(path as string, "bin");
  } catch {
    return undefined;
  }
}

/** A NATS server with JetStream, on a free port and in a new folder. */
export interface Nats extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Kills it; what it stored stays. */
  kill(): Promise<void>;
  /** Pauses it: it keeps its connections and sends nothing. */
  freeze(): void;
  /** Starts the server again, on the same port, with its stored data. */
  start(): Promise<void>;
}

export async function startNats(program: string, { jetstream = true } = {}): Promise<Nats> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-nats-"));
  const port = await freePort();
  let server: ChildProcess | undefined;
  const nats: Nats = {
    url: `nats://127.0.0.1:${port}`,
    port,
    async kill() {
      if (server === undefined || server.exitCode !== null) return;
      const exit = once(server, "exit");
      server.kill("SIGKILL");
      server = undefined;
      await exit;
    },
    freeze: () => void server?.kill("SIGSTOP"),
    async start() {
      const options = ["-a", "127.0.0.1", "-p", String(port)];
      if (jetstream) options.push("-js", "-sd", folder);
      server = spawn(program, options, { stdio: ["ignore", "ignore", "pipe"] });
      await ready(server);
    },
    async [Symbol.asyncDispose]() {
      await nats.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await nats.start();
  } catch (error) {
    await nats[Symbol.asyncDispose]();
    // Another process has taken the port meanwhile.
    if (String(error).includes("address already in use")) return startNats(program, { jetstream });
    throw error;
  }
  return nats;
}

/** Resolves when the server says that it is ready; throws with its log when it ends instead. */
async function ready(server: ChildProcess): Promise<void> {
  let log = "";
  for await (const text of server
    .stderr!.setEncoding("utf8")
    .iterator({ destroyOnReturn: false })) {
    log += text;
    if (log.includes("Server is ready")) {
      server.stderr!.resume();
      return;
    }
  }
  throw new Error(`nats-server did not start:\n${log}`);
}
