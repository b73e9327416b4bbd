import { readFileSync } from "node:fs";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openWorkshop, repository, type Workshop } from "./support/workshop.ts";

// npm installs here, from its cache or from the registry.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const { name, version } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));
const tarball = `hawser/${name}-${version}.tgz`;

let workshop: Workshop;

beforeAll(async () => {
  workshop = await openWorkshop();
  await workshop.follow("hawser");
});

afterAll(() => workshop[Symbol.asyncDispose]());

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

test("the package holds what src/, gen/ and proto/ make of it, and nothing else", async () => {
  const packed = (await workshop.run(".", "tar", "-tzf", tarball)).trim().split("\n").sort();
  const [sources, gen, proto] = await Promise.all(
    ["src", "gen", "proto"].map((folder) => filesIn(join(repository, folder))),
  );
  const built = sources?.flatMap((file) =>
    ["js", "d.ts"].map((ending) => `dist/${file.replace(/ts$/, ending)}`),
  );
  const expected = [
    ...["LICENSE", "README.md", "package.json"],
    ...(built ?? []),
    ...(gen ?? []).map((file) => `gen/${file}`),
    ...(proto ?? []).map((file) => `proto/${file}`),
  ];
  expect(packed).toEqual(expected.map((file) => `package/${file}`).sort());
});

test("the package is small", async () => {
  const { size } = await stat(join(workshop.folder, tarball));
  expect(size).toBeGreaterThan(10_000);
  expect(size).toBeLessThan(250_000);
});

test("installed in an empty project, the first program of the README runs and has its types", async () => {
  await workshop.follow("greeter");
  const project = join(workshop.folder, "greeter");

  // Without skipLibCheck: the types of the package itself are checked too.
  const compilerOptions = {
    target: "es2024",
    lib: ["es2024", "esnext.disposable", "dom", "dom.iterable"],
    module: "nodenext",
    types: ["node"],
    typeRoots: [join(repository, "node_modules", "@types")],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
  };
  await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  await workshop.run("greeter", join(repository, "node_modules", ".bin", "tsc"));
  const program = await readFile(join(project, "client.ts"), "utf8");
  await writeFile(join(project, "wrong.ts"), program.replace("content:", "contents:"));
  await expect(
    workshop.run("greeter", join(repository, "node_modules", ".bin", "tsc")),
  ).rejects.toThrow(/wrong\.ts.*'contents' does not exist/);

  const help = await workshop.run("greeter", "npx", "--no-install", "hawser", "--help");
  expect(help).toContain("Usage: hawser");
  expect(await workshop.run("greeter", "npx", "--no-install", "hawser", "--version")).toBe(
    `${version}\n`,
  );

  const resolved = await workshop.run(
    ...(["greeter", "node", "--input-type=module", "--eval"] as const),
    `for (const name of ["", "/server", "/log/sqlite", "/gen/example/greeter_pb.js", "/package.json"]) {
         const type = name.endsWith("json") ? { with: { type: "json" } } : undefined;
         console.log(Object.keys(await import("hawser" + name, type)).length > 0);
       }
       const { sqliteLog } = await import("hawser/log/sqlite");
       await sqliteLog("log.db").catch(({ message }) => console.log(message));
       await import("hawser/dist/index.js").catch(({ code }) => console.log(code));
       console.log(import.meta.resolve("hawser/proto/example/greeter.proto"));`,
  );
  const contract = join(project, "node_modules/hawser/proto/example/greeter.proto");
  expect(resolved.trim().split("\n")).toEqual([
    ...["true", "true", "true", "true", "true"],
    "[failed_precondition] a log in SQLite needs the package better-sqlite3: npm install better-sqlite3",
    "ERR_PACKAGE_PATH_NOT_EXPORTED",
    `file://${contract}`,
  ]);
  expect(await readFile(contract, "utf8")).toBe(
    await readFile(join(repository, "proto/example/greeter.proto"), "utf8"),
  );
});
