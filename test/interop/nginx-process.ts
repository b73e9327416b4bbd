/** nginx with the configuration that README.md prints, its ports aside. */
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../support/free-port.ts";
import { env, type ProxyProcess, startProxy } from "./proxy-process.ts";

const PRINTED = new URL("./nginx/hawser.conf", import.meta.url);

/**
 * The parts of a distribution's nginx.conf around ours, in a separate folder, enough connections for 1,500 calls at once,
 * and a setting that ends old workers soon.
 */
const around = (folder: string) => `
pid ${folder}/pid;
error_log ${folder}/error.log;
worker_processes 2;
worker_shutdown_timeout 1s;
events { worker_connections 8192; }
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

/** The reason why nginx cannot run; `undefined` if it can. */
export function lackOfNginx(): string | undefined {
  const { error, stderr } = spawnSync("nginx", ["-V"], { encoding: "utf8", env });
  if (error !== undefined) return "there is no `nginx` on the PATH";
  return stderr.includes("http_v2_module") ? undefined : "this `nginx` has no HTTP/2";
}

/** Starts nginx before the servers on these two ports. */
export async function startNginx(
  directory: string,
  backends: readonly [number, number],
): Promise<ProxyProcess> {
  const folder = await mkdtemp(join(directory, "nginx-"));
  await mkdir(join(folder, "body"));
  const port = await freePort();
  const ports: Record<string, number> = { 50050: port, 50051: backends[0], 50052: backends[1] };
  const printed = await readFile(PRINTED, "utf8");
  const set = printed.replace(/\b5005[012]\b/g, (written) => String(ports[written]));
  await writeFile(join(folder, "hawser.conf"), set);
  await writeFile(join(folder, "nginx.conf"), around(folder));

  const args = [
    "-p",
    folder,
    "-c",
    join(folder, "nginx.conf"),
    "-e",
    "stderr",
    "-g",
    "daemon off;",
  ];
  return startProxy(["nginx", ...args], { port, reload: (nginx) => void nginx.kill("SIGHUP") });
}
