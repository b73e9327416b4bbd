/**
 * All that CI checks short of tests, without a network, in two lanes at once:
 *
 *     sources   types, code style, the contract, gen/     each for itself
 *     package   build -> pack -> publint -> attw          each needs the one before
 *
 * It prints a line a step; the output of a step is shown only when the step fails.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

interface Step {
  title: string;
  /** The remedy when it fails. */
  remedy: string;
  /** Rejects with the output for the user; a text that it resolves with is shown beside the title. */
  run: () => Promise<string | undefined>;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const temporary = mkdtempSync(join(tmpdir(), "hawser-check-"));
process.on("exit", () => rmSync(temporary, { recursive: true, force: true }));

/** Runs a program of the repository or of the machine; resolves with its stdout, rejects with all it printed. */
function run(program: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const PATH = [join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter);
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, PATH },
      stdio: ["ignore", "pipe", "pipe"],
      shell: process.platform === "win32",
    });
    let stdout = "";
    let all = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      all += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      all += text;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(all.trim() || `${program} ended with exit code ${code}`));
    });
  });
}

/** A program whose output is not needed when it succeeds. */
const quiet =
  (program: string, ...args: string[]) =>
  async () => {
    await run(program, ...args);
    return undefined;
  };

/** The commit that a name stands for, if there is one in this clone. */
const commit = (name: string) =>
  run("git", "rev-parse", "--verify", "--quiet", `${name}^{commit}`).then(
    (hash) => hash.trim(),
    () => undefined,
  );

/**
 * The contract before the change: that of main, and, where main is checked out, that of
 * the commit before it, since no change is visible against itself.
 */
async function breaking(): Promise<string> {
  const main = (await commit("main")) ? "main" : "origin/main";
  const hash = await commit(main);
  if (hash === undefined) return "neither main nor origin/main here: nothing to compare with";
  const bases = hash === (await commit("HEAD")) ? [main, `${main}~1`] : [main];
  const compared: string[] = [];
  for (const base of bases) {
    if ((await commit(base)) === undefined) continue;
    const listed = await run("git", "ls-tree", "--name-only", base, "--", "buf.yaml", "proto");
    if (listed.trim().split("\n").length < 2) continue;
    const archive = join(temporary, `${compared.length}.tar`);
    await run("git", "archive", "--format=tar", `--output=${archive}`, base, "buf.yaml", "proto");
    await run("buf", "breaking", "--against", archive);
    compared.push(base);
  }
  if (compared.length === 0) return `${main} has no contract yet: nothing to compare with`;
  return `against ${compared.join(" and ")}`;
}

/** Generates beside the working tree, and compares both ways: files that differ, are missing, or are left over. */
async function generated(): Promise<undefined> {
  await run("buf", "generate", "--output", temporary);
  await run("git", "diff", "--no-index", "--exit-code", "--", "gen", join(temporary, "gen"));
}

/** Each exception in buf.yaml must be needed: without them buf must complain of exactly these. */
async function exceptions(): Promise<undefined> {
  const config = readFileSync(join(root, "buf.yaml"), "utf8");
  const block = /^ {2}ignore_only:\n((?: {4}.*\n)+)/m;
  const excepted = new Set<string>();
  let rule = "";
  for (const line of config.match(block)?.[1]?.trimEnd().split("\n") ?? []) {
    const [, name, path] = /^ {4}(?:(\w+):| {2}- (\S+))$/.exec(line) ?? [];
    if (name !== undefined) rule = name;
    else excepted.add(`${rule} ${path}`);
  }
  const withoutThem = config.replace(block, "");
  const complaints = await run("buf", "lint", "--error-format=json", "--config", withoutThem).then(
    () => "",
    (error: Error) => error.message,
  );
  for (const line of complaints.split("\n").filter((line) => line.startsWith("{"))) {
    const { type, path } = JSON.parse(line) as { type: string; path: string };
    excepted.delete(`${type} ${path}`);
  }
  if (excepted.size > 0)
    throw new Error([...excepted].map((one) => `not needed: ${one}`).join("\n"));
}

/** Each package in the lock has a hash, which npm checks its download against, and no address: the user chooses the registry. */
async function locked(): Promise<undefined> {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { integrity?: string; resolved?: string }>;
  };
  const wrong = Object.entries(packages).flatMap(([path, { integrity, resolved }]) => [
    ...(path !== "" && !integrity?.startsWith("sha512-") ? [`no integrity: ${path}`] : []),
    ...(resolved === undefined ? [] : [`an address: ${path}`]),
  ]);
  if (wrong.length > 0) throw new Error(wrong.join("\n"));
}

const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  name: string;
  version: string;
};
const tarball = join(temporary, `${name}-${version}.tgz`);

const sources: Step[] = [
  {
    title: "types (tsc)",
    remedy: "mend the types",
    run: quiet("tsc"),
  },
  {
    title: "code style (biome)",
    remedy: "npm run format, then mend what is left",
    run: quiet("biome", "check"),
  },
  {
    title: "public surface (test/api/)",
    remedy: "npm run api, and commit test/api/, where the change is meant",
    run: quiet("node", "scripts/api.ts", "--check"),
  },
  {
    title: "package-lock.json: hashes, and no addresses",
    remedy:
      "give each package the integrity that npm view NAME@VERSION dist.integrity prints; remove resolved",
    run: locked,
  },
  {
    title: "contract: rules (buf lint)",
    remedy: "mend the .proto; an exception needs its reason in buf.yaml",
    run: quiet("buf", "lint"),
  },
  {
    title: "contract: exceptions from the rules",
    remedy: "remove what is not needed from lint.ignore_only in buf.yaml",
    run: exceptions,
  },
  {
    title: "contract: format (buf format)",
    remedy: "npm run format",
    run: quiet("buf", "format", "--diff", "--exit-code"),
  },
  {
    title: "contract: nothing breaks (buf breaking)",
    remedy: "add methods and fields; change none that exist",
    run: breaking,
  },
  {
    title: "gen/ is what the generator makes",
    remedy: "npm run generate, and commit gen/",
    run: generated,
  },
];

const packaging: Step[] = [
  {
    title: "build",
    remedy: "npm run build",
    run: quiet("npm", "run", "--silent", "build"),
  },
  {
    // Without scripts: `prepack` would build once more.
    title: "pack",
    remedy: "npm pack",
    run: quiet("npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", temporary),
  },
  {
    title: "package (publint)",
    remedy: "mend package.json",
    run: quiet("publint", "run", tarball, "--strict"),
  },
  {
    // ESM only: require() and Node 10 are not supported. attw does not look into entries with a *,
    // so one generated module is checked for those of ./gen/*; ./proto/* has no types.
    title: "types of the package (attw)",
    remedy: "mend exports in package.json",
    run: quiet(
      ...(["attw", tarball, "--profile", "esm-only", "--no-color", "--no-emoji"] as const),
      ...["--include-entrypoints", "gen/example/greeter_pb.js"],
    ),
  },
];

const failed: Step[] = [];

/** Runs a step and prints its result. */
async function passes(step: Step): Promise<boolean> {
  const startedAt = performance.now();
  const seconds = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`.padStart(7);
  try {
    const note = await step.run();
    console.log(`ok    ${seconds()}  ${step.title}${note === undefined ? "" : `: ${note}`}`);
    return true;
  } catch (error) {
    failed.push(step);
    const text = error instanceof Error ? error.message : String(error);
    console.log(`FAIL  ${seconds()}  ${step.title}\n\n${text.replace(/^/gm, "    ")}\n`);
    return false;
  }
}

async function each(steps: Step[]): Promise<void> {
  for (const step of steps) await passes(step);
}

async function untilOneFails(steps: Step[]): Promise<void> {
  for (const step of steps) if (!(await passes(step))) return;
}

await Promise.all([each(sources), untilOneFails(packaging)]);

if (failed.length > 0) {
  console.log("\nWhat failed, and what to do:");
  for (const { title, remedy } of failed) console.log(`  ${title}: ${remedy}`);
  process.exitCode = 1;
}
