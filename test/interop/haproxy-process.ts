/** HAProxy with the configuration in haproxy/hawser.cfg, its ports and times aside. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../support/free-port.ts";
import { env, type ProxyProcess, startProxy } from "./proxy-process.ts";

const PRINTED = new URL("./haproxy/hawser.cfg", import.meta.url);

/** What a distribution's haproxy.cfg begins with, and a setting that ends old workers soon. */
const GLOBAL = `
global
  hard-stop-after 1s
`;

/** The reason why HAProxy cannot run; `undefined` if it can. */
export function lackOfHaproxy(): string | undefined {
  const { error } = spawnSync("haproxy", ["-v"], { env });
  return error === undefined ? undefined : "there is no `haproxy` on the PATH";
}

export interface HaproxyOptions {
  /** How long a stream may be silent, with its unit. Default: as printed. */
  readonly timeout?: string;
}

/** Starts HAProxy before the servers on these two ports. */
export async function startHaproxy(
  directory: string,
  backends: readonly [number, number],
  { timeout }: HaproxyOptions = {},
): Promise<ProxyProcess> {
  const folder = await mkdtemp(join(directory, "haproxy-"));
  const port = await freePort();
  const ports: Record<string, number> = { 50050: port, 50051: backends[0], 50052: backends[1] };
  const printed = await readFile(PRINTED, "utf8");
  const set = printed
    .replace(/\b5005[012]\b/g, (written) => String(ports[written]))
    .replace("bind :", "bind 127.0.0.1:")
    .replaceAll(/(timeout (?:client|server)) \S+/g, (written, what) =>
      timeout === undefined ? written : `${what} ${timeout}`,
    );
  const file = join(folder, "haproxy.cfg");
  await writeFile(file, GLOBAL + set);
  const control = join(folder, "control");
  const args = ["-q", "-W", "-db", "-S", control, "-f", file];
  return startProxy(["haproxy", ...args], {
    port,
    // The master executes itself once more after its worker listens, and misses signals and commands before.
    ready: async () => (await command(control, "show proc")) !== "",
    reload: async () => {
      await command(control, "reload");
    },
  });
}

/** Gives a command to the master at its socket. Returns the answer; "" also if it takes no commands yet. */
async function command(path: string, text: string): Promise<string> {
  const socket = connect(path).setEncoding("utf8");
  try {
    await once(socket, "connect");
    socket.end(`${text}\n`);
    let answer = "";
    for await (const part of socket) answer += part;
    return answer;
  } catch {
    return "";
  } finally {
    socket.destroy();
  }
}
