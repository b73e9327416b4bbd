/**
 * Runs all checks of CI except the tests, without a network, in two lanes at the same time:
 *
 *     sources   types, code style, the contract, gen/     each by itself
 *     package   build -> a page's size -> pack -> publint -> attw          each needs the one before
 *
 * Prints one line a step; the output of a step is shown only if it fails.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "./web-page.ts";

interface Step {
  title: string;
  /** The remedy if the step fails. */
  remedy: string;
  /** Rejects with what the user must see. A text that it resolves with is shown after the title. */
  run: () => Promise<string | undefined>;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const temporary = mkdtempSync(join(tmpdir(), "hawser-check-"));
process.on("exit", () => rmSync(temporary, { recursive: true, force: true }));

/** The most that scripts/greeter-page.ts takes after gzip. A KB is 1000 bytes. */
const PAGE_MAX_BYTES = 89_000;

/**
 * Runs a program of the repository or of the machine. Resolves with its stdout; rejects with all that it has printed.
 */
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

/** Makes a step of a program whose output is not needed if it succeeds. */
const quiet =
  (program: string, ...args: string[]) =>
  async () => {
    await run(program, ...args);
    return undefined;
  };

/** Returns the commit that a name stands for, if this clone has it. */
const commit = (name: string) =>
  run("git", "rev-parse", "--verify", "--quiet", `${name}^{commit}`).then(
    (hash) => hash.trim(),
    () => undefined,
  );

/**
 * Compares the contract with the one on main. If main is checked out, also with the commit before it, because
 * main compared with itself shows no change.
 */
async function checkBreaking(): Promise<string> {
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
    // buf.yaml names the folders of contracts.
    const config = await run("git", "show", `${base}:buf.yaml`);
    const folders = [...config.matchAll(/^ {2}- path: (\S+)$/gm)]
      .map(([, path]) => path as string)
      .filter((folder) => existsSync(join(root, folder)));
    const paths = ["buf.yaml", ...folders];
    await run("git", "archive", "--format=tar", `--output=${archive}`, base, ...paths);
    // One after the other: buf does not compare all of them at once with fewer of them.
    for (const folder of folders) {
      await run("buf", "breaking", folder, "--against", `${archive}#subdir=${folder}`);
    }
    compared.push(base);
  }
  if (compared.length === 0) return `${main} has no contract yet: nothing to compare with`;
  return `against ${compared.join(" and ")}`;
}

/**
 * Generates in a folder outside the working tree, and compares both ways: files that differ, are missing or are left
 * over.
 */
async function checkGenerated(): Promise<undefined> {
  for (const [folder, ...template] of [
    ["gen"],
    ["test/interop/gen", "--template", "test/interop/proto/buf.gen.yaml"],
  ] as const) {
    await run("buf", "generate", ...template, "--output", temporary);
    await run("git", "diff", "--no-index", "--exit-code", "--", folder, join(temporary, folder));
  }
}

/** Checks that each exception in buf.yaml is needed: without all of them, buf must complain of exactly these. */
async function checkExceptions(): Promise<undefined> {
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

/**
 * Checks that each package in the lock has a hash, with which npm verifies what it downloads, and no address: users
 * choose their registry.
 */
async function checkLock(): Promise<undefined> {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { integrity?: string; resolved?: string }>;
  };
  const wrong = Object.entries(packages).flatMap(([path, { integrity, resolved }]) => [
    ...(path !== "" && !integrity?.startsWith("sha512-") ? [`no integrity: ${path}`] : []),
    ...(resolved === undefined ? [] : [`an address: ${path}`]),
  ]);
  if (wrong.length > 0) throw new Error(wrong.join("\n"));
}

/**
 * Checks what a page with Hawser takes. The limit is what it took when somebody last decided about it, and 1 KB: growth is a
 * decision.
 */
async function checkPage(): Promise<string> {
  const { gzipBytes } = await bundle();
  const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(1)} KB`;
  const figure = `${kilobytes(gzipBytes)} after gzip, at most ${kilobytes(PAGE_MAX_BYTES)}`;
  if (gzipBytes > PAGE_MAX_BYTES) throw new Error(figure);
  return figure;
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
    remedy: "npm run api, and commit test/api/, if the change is intended",
    run: quiet("node", "scripts/api.ts", "--check"),
  },
  {
    title: "package-lock.json: hashes, and no addresses",
    remedy:
      "give each package the integrity that npm view NAME@VERSION dist.integrity prints; remove resolved",
    run: checkLock,
  },
  {
    title: "contract: rules (buf lint)",
    remedy: "mend the .proto; an exception needs its reason in buf.yaml",
    run: quiet("buf", "lint"),
  },
  {
    title: "contract: exceptions from the rules",
    remedy: "remove what is not needed from lint.ignore_only in buf.yaml",
    run: checkExceptions,
  },
  {
    title: "contract: format (buf format)",
    remedy: "npm run format",
    run: quiet("buf", "format", "proto", "--diff", "--exit-code"),
  },
  {
    title: "contract: nothing breaks (buf breaking)",
    remedy: "add methods and fields; change none that exist",
    run: checkBreaking,
  },
  {
    title: "gen/ and test/interop/gen/ are what the generator makes",
    remedy: "npm run generate, and commit both",
    run: checkGenerated,
  },
];

const packaging: Step[] = [
  {
    title: "build",
    remedy: "npm run build",
    run: quiet("npm", "run", "--silent", "build"),
  },
  {
    title: "a page of hawser/web",
    remedy:
      "make it smaller; or decide that it may grow, and raise PAGE_MAX_BYTES and the table in docs/browsers.md",
    run: checkPage,
  },
  {
    // Without scripts: `prepack` would build again.
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
    // The package is ESM only: require() and Node 10 are not checked. Entries with a * are not checked, so one
    // generated module stands for those of ./gen/*; ./proto/* has no types.
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
async function runStep(step: Step): Promise<boolean> {
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

async function runAll(steps: Step[]): Promise<void> {
  for (const step of steps) await runStep(step);
}

async function runUntilFailure(steps: Step[]): Promise<void> {
  for (const step of steps) if (!(await runStep(step))) return;
}

await Promise.all([runAll(sources), runUntilFailure(packaging)]);

if (failed.length > 0) {
  console.log("\nWhat failed, and what to do:");
  for (const { title, remedy } of failed) console.log(`  ${title}: ${remedy}`);
  process.exitCode = 1;
}
