import { execFile } from "node:child_process";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { installPackage } from "./installed-package.ts";
import { temporary } from "./temporary.ts";

const run = promisify(execFile);
const repository = fileURLToPath(new URL("../..", import.meta.url));

export interface BuiltProject extends AsyncDisposable {
  /** The folder of the built page. */
  readonly dist: string;
  /** What Vite has printed. */
  readonly printed: string;
}

/** Builds test/vite-project in a folder outside the repository, where the package is installed. */
export async function buildViteProject(): Promise<BuiltProject> {
  const folder = await temporary();
  await installPackage(folder, ["vite"]);
  await cp(join(repository, "test", "vite-project"), folder, { recursive: true });
  const vite = join(repository, "node_modules", "vite", "bin", "vite.js");
  const { NODE_ENV: _, ...env } = process.env;
  const { stdout, stderr } = await run(process.execPath, [vite, "build"], { cwd: folder, env });
  return {
    dist: join(folder, "dist"),
    printed: stdout + stderr,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}
