import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Block, blocks, outputOf, readme, tableOf } from "./support/readme.ts";
import { openWorkshop, repository, type Workshop } from "./support/workshop.ts";

// npm installs here, from its cache or from the registry.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const manifest = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));

/** The pieces of a program, in order, by its name. */
const programs = Map.groupBy(
  blocks.filter(({ run }) => run !== undefined),
  ({ run }) => run as string,
);

/** What README.md takes for granted in a piece: a server, and a client of it. */
const given = `
import { createClient, createTransport } from "hawser";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { type ConnectRouter, createServer, type ServiceImpl } from "hawser/server";
import { greeter as example } from "./examples/greeter/handlers.ts";

export async function begin(handlers: Partial<ServiceImpl<typeof Greeter>> = example) {
  const routes = (router: ConnectRouter) => router.service(Greeter, handlers);
  const { url } = await createServer({ routes }).listen({ port: 0 });
  return { routes, url, greeter: createClient(Greeter, createTransport({ baseUrl: url })) };
}
`;

/** Makes one program of pieces: their imports first, then each in a scope of its own, but for handlers. */
function assemble(pieces: readonly Block[]): string {
  const code = pieces.map((piece) => piece.code);
  const imports = code.flatMap((text) => text.match(/^import [^;]*;$/gm) ?? []);
  const rest = code.map((text) => text.replace(/^import [^;]*;$/gm, "").trim());
  const handlers = rest.filter((text) => text.startsWith("const handlers"));
  const statements = rest.filter((text) => !text.startsWith("const handlers"));
  return [
    'import { Greeter } from "hawser/gen/example/greeter_pb.js";',
    'import { begin } from "./given.ts";',
    ...imports,
    ...handlers,
    `const { routes, url, greeter } = await begin(${handlers.length > 0 ? "handlers" : ""});`,
    ...statements.map((text) => `{\n${text}\n}`),
    // The server that was given goes on; what was left unhandled must be heard of first.
    "setImmediate(() => process.exit());",
  ].join("\n");
}

let workshop: Workshop;

beforeAll(async () => {
  workshop = await openWorkshop();
  await workshop.follow("hawser");
  await workshop.follow("weather");
  await mkdir(join(workshop.folder, "pieces"));
  const inPieces = (file: string) => join(workshop.folder, "pieces", file);
  await symlink(join(workshop.folder, "weather", "node_modules"), inPieces("node_modules"));
  await cp(join(workshop.folder, "weather", "tsconfig.json"), inPieces("tsconfig.json"));
  await cp(join(workshop.folder, "weather", "package.json"), inPieces("package.json"));
  await cp(join(repository, "test", "support", "certs"), inPieces("certs"), { recursive: true });
  for (const file of ["examples/greeter/handlers.ts", "examples/pause.ts"]) {
    await cp(join(repository, file), inPieces(file));
  }
  await writeFile(inPieces("given.ts"), given);
  for (const [name, pieces] of programs) {
    await writeFile(inPieces(`${name}.ts`), assemble(pieces));
  }
});

afterAll(() => workshop[Symbol.asyncDispose]());

test("each code block says what it is, and is tried", () => {
  // The two others are followed in package.test.ts and in beforeAll, the repository's in a test below.
  const projects = ["repository", "hawser", "greeter", "weather"];
  for (const block of blocks) {
    const isKnown =
      projects.includes(block.in ?? block.file?.split("/")[0] ?? "") ||
      (block.run !== undefined && block.language === "ts") ||
      (block.output && blocks[blocks.indexOf(block) - 1]?.in !== undefined) ||
      block.same !== undefined ||
      block.layout ||
      block.drawing;
    expect(isKnown, `README.md, line ${block.line}`).toBe(true);
  }
  expect(readme.split("\n").filter((line) => line.startsWith("```"))).toHaveLength(
    2 * blocks.length,
  );
});

test("files are printed as they are", () => {
  const printed = blocks.filter((block) => block.same !== undefined);
  expect(printed).not.toEqual([]);
  for (const { same, code } of printed) {
    expect(code).toBe(readFileSync(join(repository, same as string), "utf8"));
  }
});

/** What a script prints: npm says first what it runs. */
const ofProgram = (printed: string) => printed.replace(/^> .*\n|^\n/gm, "");

test("what is typed in the repository", async () => {
  const [serve, chat, ...rooms] = blocks.filter((block) => block.in === "repository");
  // .ci/run has done what stands before &&, or this test would not run.
  const [, start] = /^npm ci && (npm start)\n$/.exec(serve?.code ?? "") ?? [];
  expect(start).toBeDefined();
  // On a port of its own, for 50051 may be taken on this machine.
  const listening = /^listening on (http:\S+)$/m;
  const isUp = (printed: string) => listening.test(printed);
  await using server = await workshop.serve("hawser", `${start} -- --port 0 --log memory`, isUp);
  const [, url] = listening.exec(server.printed) ?? [];
  const command = `${chat?.code.trim()} --url ${url}`;
  const printed = await workshop.run("hawser", "sh", "-c", command);
  expect(ofProgram(printed)).toBe(outputOf(chat as Block));

  const [join, others, ...rest] = rooms.map(({ code }) => code.replaceAll("\n", ` --url ${url}\n`));
  expect(rest).toEqual([]);
  const joined = outputOf(rooms[0] as Block) as string;
  const isIn = (printed: string) => ofProgram(printed).length >= joined.length;
  await using member = await workshop.serve("hawser", join as string, isIn);
  expect(ofProgram(member.printed)).toBe(joined);
  expect(ofProgram(await workshop.run("hawser", "sh", "-ec", others as string))).toBe(
    outputOf(rooms[1] as Block),
  );
});

describe("the pieces", () => {
  test("have the types of the package", async () => {
    await workshop.run("pieces", "npx", "tsc");
  });

  test.concurrent.each([...programs])("%s: run, and print what they say", async (name, pieces) => {
    const printed = await workshop.run("pieces", "node", `${name}.ts`);
    const promised = pieces.flatMap(({ code }) => [...code.matchAll(/\/\/ → (.*)$/gm)]);
    expect(printed.split("\n").slice(0, -1)).toEqual(promised.map(([, line]) => line));
  });
});

describe("what README.md says of the repository", () => {
  test("the dependencies, each with its reason", () => {
    const named = (heading: string) => tableOf(heading).map(([name]) => name);
    expect(named("Package")).toEqual(Object.keys(manifest.dependencies));
    expect(named("Optional")).toEqual(Object.keys(manifest.peerDependencies));
    expect(named("For development")).toEqual(Object.keys(manifest.devDependencies));
    const tables = ["Package", "Optional", "For development"].map(tableOf);
    expect(tables.flat(2)).not.toContain("");
  });

  test("the versions to install are those that Hawser is built with", () => {
    const install = blocks.filter((block) => block.in === "weather").map(({ code }) => code);
    const versions = { ...manifest.dependencies, ...manifest.devDependencies };
    const pinned = [...install.join().matchAll(/(\S+)@(\d\S*)/g)];
    expect(pinned).toHaveLength(5);
    for (const [, name, version] of pinned) {
      expect(version, name).toBe(versions[name as string].replace("^", ""));
    }
    expect(install.join()).toContain(`hawser-${manifest.version}.tgz`);
  });

  test("the versions that Hawser is compared with are those that run in the test", () => {
    const { dependencies, devDependencies } = manifest;
    expect(readme).toContain(`connect-node ${dependencies["@connectrpc/connect-node"]} `);
    expect(readme).toContain(`@grpc/grpc-js ${devDependencies["@grpc/grpc-js"]},`);
  });

  test("every npm script", () => {
    const scripts = tableOf("Script").map(([script]) => script?.replace(/^npm (run )?/, ""));
    expect(scripts.sort()).toEqual(Object.keys(manifest.scripts).sort());
  });

  test("where things are", () => {
    const layout = blocks.find((block) => block.layout)?.code ?? "";
    const named = layout.match(/^\S+|src\/\S+/gm)?.map((path) => path.replace(/\/$/, "")) ?? [];
    for (const path of named) expect(existsSync(join(repository, path)), path).toBe(true);
    const folders = readdirSync(join(repository, "src"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `src/${entry.name}`);
    expect(named).toEqual(expect.arrayContaining(folders));
  });

  test("the drawing of the data path names what there is", () => {
    const sources = readdirSync(join(repository, "src"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
      .join();
    const names = blocks.find((block) => block.drawing)?.code.match(/\b[A-Z]\w+/g) ?? [];
    expect(names).not.toEqual([]);
    for (const name of names)
      expect(sources).toMatch(
        new RegExp(`^export (abstract class|class|interface) ${name}\\b`, "m"),
      );
  });

  test("no link leads nowhere", () => {
    const headings = [...readme.matchAll(/^#+ (.*)$/gm)].map(([, text]) =>
      `#${text}`.toLowerCase().replaceAll(" ", "-"),
    );
    for (const [, target = ""] of readme.matchAll(/\]\((?!https:)([^)]*)\)/g)) {
      const leads = headings.includes(target) || existsSync(join(repository, target));
      expect(leads, target).toBe(true);
    }
    for (const [, file = ""] of readme.matchAll(/`((?:test|bench|src)\/[\w./-]+|\.ci\/run)`/g)) {
      expect(existsSync(join(repository, file)), file).toBe(true);
    }
  });
});
