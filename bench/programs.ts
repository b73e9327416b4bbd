/** Builds the programs that are not TypeScript, and finds each peer's. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Program } from "./child.ts";
import { type Peer, type Role, withoutTls } from "./plan.ts";
import { tlsArguments } from "./tls.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const cache = here("../.cache/bench");

/** What a run has beside the programs in TypeScript. */
export interface Programs {
  /** The program of bench/go; `undefined` without Go. */
  readonly go?: string | undefined;
  /** The program of bench/rust; `undefined` without cargo. */
  readonly rust?: string | undefined;
  /** The path of another checkout of Hawser, with its node_modules. */
  readonly checkout?: string | undefined;
}

/**
 * Builds the Go programs, in about two seconds if Go's cache is warm. Returns the path of the binary, or `undefined`
 * if Go is not installed.
 */
export function buildGo(): string | undefined {
  const binary = join(cache, "peer");
  mkdirSync(cache, { recursive: true });
  const isBuilt = build("go", ["build", "-o", binary, "."], { directory: "./go" });
  return isBuilt ? binary : undefined;
}

/**
 * Builds tonic's program; the first time cargo fetches and compiles its packages, which takes some minutes. Returns the
 * path of the binary, or `undefined` if cargo is not installed.
 */
export function buildRust(): string | undefined {
  if (spawnSync("cargo", ["--version"]).error !== undefined) return undefined;
  mkdirSync(cache, { recursive: true });
  const target = join(cache, "rust");
  const env = { CARGO_TARGET_DIR: target, HAWSER_GREETER_DESCRIPTORS: writeDescriptors() };
  build("cargo", ["build", "--quiet", "--release", "--locked"], { directory: "./rust", env });
  return join(target, "release", "peer");
}

/** Writes the descriptors of the Greeter service, if they have changed: cargo builds again if the file is newer. */
function writeDescriptors(): string {
  const file = join(cache, "greeter.binpb");
  const source = ["--path", "proto/example/greeter.proto", "--as-file-descriptor-set"];
  const made = spawnSync(here("../node_modules/.bin/buf"), ["build", ...source, "-o", "-"], {
    cwd: here(".."),
  });
  if (made.status !== 0) throw new Error(`buf build failed: ${made.error ?? made.stderr}`);
  if (!existsSync(file) || !readFileSync(file).equals(made.stdout)) {
    writeFileSync(file, made.stdout);
  }
  return file;
}

/** Runs a program that builds, in a folder of bench/. Returns `false` if the program is not installed. */
function build(
  program: string,
  args: readonly string[],
  { directory, env }: { directory: string; env?: NodeJS.ProcessEnv },
): boolean {
  const built = spawnSync(program, args, {
    cwd: here(directory),
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (built.error !== undefined) return false;
  if (built.status !== 0)
    throw new Error(`${program} ${args[0]} failed in bench/${basename(directory)}`);
  return true;
}

export function programOf(peer: Peer, role: Role, { go, rust, checkout }: Programs): Program {
  const { name, tls } = withoutTls(peer);
  const args = tls && role === "server" ? tlsArguments : [];
  switch (name) {
    case "grpc-go":
      return [go as string, role, ...args];
    case "tonic":
      return [rust as string, role];
    case "before":
      // The program of that checkout, which imports the source of that checkout.
      return [join(checkout as string, "bench", `${role}s`, "hawser.ts")];
    default:
      return [here(`./${role}s/${name}.ts`), ...args];
  }
}

/** Returns the program of the load on servers. */
export function loadProgram({ go }: Programs): Program {
  return go === undefined ? [here("./load.ts")] : [go, "load"];
}
