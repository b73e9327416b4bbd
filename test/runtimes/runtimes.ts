/** The runtimes that `npm run runtimes` tests, in the pinned versions, from the packages that npm installs them from. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

export const CACHE = fileURLToPath(new URL("../../.cache/runtimes/", import.meta.url));

export interface Runtime {
  readonly name: string;
  readonly version: string;
  /** The program, and its arguments before the file that it runs. */
  readonly command: readonly [program: string, ...args: string[]];
}

/** Where a runtime comes from. */
export interface Source {
  readonly name: string;
  readonly version: string;
  /** The program inside the package, without the extension that it has on Windows. */
  readonly program: string;
  readonly args: readonly string[];
  /** The package of each platform for which there is a build. */
  readonly packages: Readonly<Record<string, string>>;
}

export const node: Runtime = {
  name: "Node",
  version: process.versions.node,
  command: [process.execPath],
};

export const sources: readonly Source[] = [
  {
    name: "Bun",
    version: "1.4.5",
    program: "bin/bun",
    args: ["run"],
    packages: {
      "linux-x64": "@oven/bun-linux-x64",
      "linux-arm64": "@oven/bun-linux-aarch64",
      "linux-x64-musl": "@oven/bun-linux-x64-musl",
      "linux-arm64-musl": "@oven/bun-linux-aarch64-musl",
      "darwin-x64": "@oven/bun-darwin-x64",
      "darwin-arm64": "@oven/bun-darwin-aarch64",
      "win32-x64": "@oven/bun-windows-x64",
      "win32-arm64": "@oven/bun-windows-aarch64",
    },
  },
  {
    name: "Deno",
    version: "2.9.6",
    program: "deno",
    args: [
      "run",
      "--no-prompt",
      "--quiet",
      // For calls, for files and Unix sockets, and for better-sqlite3.
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-ffi",
      "--allow-sys",
    ],
    packages: {
      "linux-x64": "@deno/linux-x64-glibc",
      "linux-arm64": "@deno/linux-arm64-glibc",
      "darwin-x64": "@deno/darwin-x64",
      "darwin-arm64": "@deno/darwin-arm64",
      "win32-x64": "@deno/win32-x64",
      "win32-arm64": "@deno/win32-arm64",
    },
  },
];

/** The platform as `packages` names it. */
function platform(): string {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const isMusl = process.platform === "linux" && header.glibcVersionRuntime === undefined;
  return `${process.platform}-${process.arch}${isMusl ? "-musl" : ""}`;
}

/**
 * Resolves with a runtime, which it fetches from the npm registry if it is not in `.cache`; with the reason, a text, if
 * this machine cannot run it. Rejects if the program is not of the pinned version.
 */
export async function obtain(source: Source): Promise<Runtime | string> {
  const { name, version, packages, args } = source;
  const packageName = packages[platform()];
  if (packageName === undefined) return `there is no build of ${name} for ${platform()}`;
  const folder = join(CACHE, `${name.toLowerCase()}-${version}-${platform()}`);
  const suffix = process.platform === "win32" ? ".exe" : "";
  const program = join(folder, "package", `${source.program}${suffix}`);
  if (!existsSync(program)) await fetchPackage(`${packageName}@${version}`, folder);
  try {
    const { stdout } = await run(program, ["--version"]);
    // Bun prints its version alone, Deno "deno 2.9.6 (stable, …)".
    if (!stdout.split(/\s/).includes(version)) {
      throw new Error(`${program} --version printed ${JSON.stringify(stdout)}, not ${version}`);
    }
  } catch (error) {
    if ((error as { signal?: unknown }).signal !== "SIGILL") throw error;
    return `this machine's processor lacks instructions that ${name} ${version} needs`;
  }
  return { name, version, command: [program, ...args] };
}

/** Unpacks a package of the npm registry; npm checks its hash. */
async function fetchPackage(spec: string, folder: string): Promise<void> {
  console.log(`fetching ${spec} …`);
  await mkdir(CACHE, { recursive: true });
  const temporary = await mkdtemp(join(CACHE, "fetch-"));
  try {
    const shell = process.platform === "win32";
    await run("npm", ["pack", spec, "--loglevel=error", "--pack-destination", temporary], {
      shell,
    });
    const [tarball = ""] = (await readdir(temporary)).filter((file) => file.endsWith(".tgz"));
    await run("tar", ["-xzf", tarball], { cwd: temporary });
    await rm(join(temporary, tarball));
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
