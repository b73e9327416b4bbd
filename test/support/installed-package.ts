/** The package as npm installs it: built, with its dependencies, but with no optional peer. */
import { execFile } from "node:child_process";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const repository = fileURLToPath(new URL("../..", import.meta.url));
const { dependencies } = (await import("../../package.json", { with: { type: "json" } })).default;

/**
 * Installs it in a new folder.
 *
 * @param peers the optional packages that are installed, too
 */
export async function installPackage(
  project: string,
  peers: readonly string[] = [],
): Promise<void> {
  const installed = join(project, "node_modules", "hawser");
  await mkdir(installed, { recursive: true });
  const tsc = join(repository, "node_modules", ".bin", "tsc");
  await run(tsc, ["-p", "tsconfig.build.json", "--outDir", join(installed, "dist")], {
    cwd: repository,
    shell: process.platform === "win32",
  });
  await writeFile(join(project, "package.json"), '{ "private": true, "type": "module" }');
  for (const part of ["gen", "package.json"]) {
    await cp(join(repository, part), join(installed, part), { recursive: true });
  }
  for (const name of [...Object.keys(dependencies), ...peers]) {
    const place = join(project, "node_modules", name);
    await mkdir(dirname(place), { recursive: true });
    await symlink(join(repository, "node_modules", name), place, "junction");
  }
}

/** Copies folders of the repository into a project, to the same places. */
export async function copyInto(project: string, ...folders: string[]): Promise<void> {
  for (const folder of folders) {
    await cp(join(repository, folder), join(project, folder), { recursive: true });
  }
}
