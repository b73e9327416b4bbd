/** nginx with the configuration that README.md prints, its ports aside. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { freePort } from "../support/free-port.ts";
import { endsWithUs } from "./programs.ts";

const PRINTED = new URL("./nginx/hawser.conf", import.meta.url);

/** The parts of a distribution's nginx.conf around ours, in a separate folder, and a setting that ends old workers soon. */
const around = (folder: string) => `
pid ${folder}/pid;
error_log ${folder}/error.log;
worker_processes 2;
worker_shutdown_timeout 1s;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  include ${folder}/hawser.conf;
}
`;

/** Debian installs nginx in a folder that is not on the PATH of many users. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };

/** The reason why nginx cannot run; `undefined` if it can. */
export function lackOfNginx(): string | undefined {
  const { error, stderr } = spawnSync("nginx", ["-V"], { encoding: "utf8", env });
  if (error !== undefined) return "there is no `nginx` on the PATH";
  return stderr.includes("http_v2_module") ? undefined : "this `nginx` has no HTTP/2";
}

interface Running {
  readonly child: ChildProcess;
  /** Ends the master and its workers. */
  kill(): void;
  readonly exited: Promise<unknown>;
}

export interface Nginx extends AsyncDisposable {
  readonly port: number;
  /** Reads its configuration anew: other workers take over, those before end a second later. */
  reload(): void;
  /** Kills nginx and its workers together, as the failure of a machine does. */
  kill(): Promise<void>;
  /** Starts it again on its port. */
  start(): Promise<void>;
}

/** Starts nginx before the servers on these two ports. */
export async function startNginx(
  directory: string,
  backends: readonly [number, number],
): Promise<Nginx> {
  const folder = await mkdtemp(join(directory, "nginx-"));
  await mkdir(join(folder, "body"));
  const port = await freePort();
  const ports: Record<string, number> = { 50050: port, 50051: backends[0], 50052: backends[1] };
  const printed = await readFile(PRINTED, "utf8");
  const set = printed.replace(/\b5005[012]\b/g, (written) => String(ports[written]));
  await writeFile(join(folder, "hawser.conf"), set);
  await writeFile(join(folder, "nginx.conf"), around(folder));

  let running: Running | undefined;
  const start = async () => {
    const args = ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr"];
    // nginx gets its own process group: its workers would outlive it if only nginx were killed.
    const child = spawn("nginx", [...args, "-g", "daemon off;"], {
      stdio: ["ignore", "ignore", "inherit"],
      detached: true,
      env,
    });
    const exited = once(child, "exit");
    const kill = () => {
      if (child.exitCode === null && child.signalCode === null) {
        process.kill(-(child.pid as number), "SIGKILL");
      }
    };
    endsWithUs(kill, exited);
    running = { child, kill, exited };
    while (!(await answers(port))) {
      if (child.exitCode !== null) throw new Error(`nginx exited with ${child.exitCode}`);
      await pause(20);
    }
  };
  const kill = async () => {
    running?.kill();
    await running?.exited;
  };
  await start();
  return {
    port,
    start,
    kill,
    reload: () => void running?.child.kill("SIGHUP"),
    [Symbol.asyncDispose]: kill,
  };
}

/** Whether a server listens on the port. */
async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
