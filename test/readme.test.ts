import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Block, blocks, outputOf } from "./support/readme.ts";
import { openWorkshop, repository, type Workshop } from "./support/workshop.ts";

// npm installs here, from its cache or from the registry.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** The pieces of a program, in order, by the page and the program's name on it. */
const programs = Map.groupBy(
  blocks.filter(({ run }) => run !== undefined),
  ({ page, run }) => `${basename(page, ".md").toLowerCase()}-${run}`,
);

/** The code that the pages assume around a piece: a server, and its client. */
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

/** Makes one program of pieces: their imports first, then each, except handlers, in its own block. */
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
    // The server that was given keeps running; what was left unhandled must be heard of first.
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

/** The output of a script, without the lines in which npm says what it runs. */
const ofProgram = (printed: string) => printed.replace(/^> .*\n|^\n/gm, "");

test("the commands that a page has the reader type in the repository", async () => {
  const [serve, chat, ...rooms] = blocks.filter((block) => block.in === "repository");
  // .ci/run has done what stands before &&, or this test would not run.
  const [, start] = /^npm ci && (npm start)\n$/.exec(serve?.code ?? "") ?? [];
  expect(start).toBeDefined();
  // On a free port, because 50051 may be taken on this machine.
  const listening = /^listening on (http:\S+) \(/m;
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

describe("the pieces of programs", () => {
  test("the pieces of programs have the types of the package", async () => {
    await workshop.run("pieces", "npx", "tsc");
  });

  test.concurrent.each([...programs])(
    "%s run, and print what the page says",
    async (name, pieces) => {
      const printed = await workshop.run("pieces", "node", `${name}.ts`);
      const promised = pieces.flatMap(({ code }) => [...code.matchAll(/\/\/ → (.*)$/gm)]);
      expect(printed.split("\n").slice(0, -1)).toEqual(promised.map(([, line]) => line));
    },
  );
});
