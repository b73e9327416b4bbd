import { readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/**
 * The layers of src/ and what each may import, itself aside. A layer is a
 * folder, or a file that lies beside the folders. Who adds one says here where
 * it stands.
 */
const everywhere = ["call-stream.ts", "caller.ts", "flow", "failure.ts", "options.ts", "observe"];
const layers: Record<string, readonly string[]> = {
  "client-entry.ts": ["client", "session", "connection", "transport", "grpc", "observe"],
  "index.ts": ["client-entry.ts", "node"],
  "server.ts": [
    ...[
      "caller.ts",
      "node",
      "server",
      "connection",
      "session",
      "sharing",
      "grpc",
      "codec",
      "flow",
      "observe",
    ],
  ],
  "web.ts": ["client-entry.ts", "web"],
  "react.ts": ["react"],
  "topics.ts": ["topics", "node", "codec", "observe"],
  "testing.ts": ["testing", "node"],
  // Users test with it: nothing of ours imports it but its entry.
  testing: ["node", "transport", "client", ...everywhere],
  node: [
    ...[
      "server",
      "sharing",
      "transport",
      "client",
      "connection",
      "http2",
      "session",
      "grpc",
      "codec",
      "gen",
      "version.ts",
    ],
    ...everywhere,
  ],
  react: ["client", ...everywhere],
  web: ["transport", "connection", "codec", "http2", ...everywhere],
  transport: [
    ...["client", "connection", "session", "grpc", "codec", "http2", "version.ts"],
    ...everywhere,
  ],
  server: ["connection", "grpc", "session", "sharing", "gen", ...everywhere],
  connection: ["http2", "grpc", "session", "sharing", "gen", ...everywhere],
  client: ["grpc", "session", "gen", ...everywhere],
  grpc: ["codec", ...everywhere],
  codec: everywhere,
  sharing: ["grpc", "gen", ...everywhere],
  session: ["sharing", "gen", ...everywhere],
  topics: ["node-version.ts", ...everywhere],
  http2: [],
  flow: ["failure.ts", "options.ts"],
  observe: ["call-stream.ts", "caller.ts", "flow", "failure.ts"],
  "options.ts": ["failure.ts"],
  "call-stream.ts": [],
  "caller.ts": [],
  "failure.ts": [],
  "version.ts": [],
  "node-version.ts": [],
};

interface Import {
  /** The file that imports, from the root of the repository. */
  readonly from: string;
  /** The imported file, or the name of a package. */
  readonly to: string;
  /** By import(), when it is needed. */
  readonly late: boolean;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const files = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll(sep, "/"));
const sources = new Map(files.map((file) => [file, readFileSync(join(root, file), "utf8")]));
const imports = files.flatMap((file) => importsOf(file));

/** All imports of a file: of values and of types, at its top and later. */
function importsOf(from: string, source = sources.get(from) as string): Import[] {
  const statement =
    /^(?:import|export)\b[^;"]*\bfrom\s+"([^"]+)"|(?<!")\bimport\s*\(?\s*"([^"\n]+)"/gm;
  const found = [...source.matchAll(statement)];
  return found
    .map(([whole, above, inside]) => ({
      to: (above ?? inside) as string,
      late: whole.includes("("),
    }))
    .map(({ to, late }) => ({ from, to: to.startsWith(".") ? fileOf(from, to) : to, late }));
}

function fileOf(from: string, to: string): string {
  return join(dirname(from), to).replaceAll(sep, "/");
}

/** "src/grpc/framing.ts" is in "grpc", "src/failure.ts" is "failure.ts", "gen/example/greeter_pb.js" is in "gen". */
function layerOf(file: string): string {
  const [top, layer] = file.split("/");
  return (top === "src" ? layer : top) as string;
}

const isOurs = ({ to }: Import) => to.startsWith("src/") || to.startsWith("gen/");
const arrow = ({ from, to }: Import) => `${from} -> ${to}`;

/** Everything that a file needs, and what that needs, and so on; `atOnce`: but for what import() brings later. */
function reachOf(file: string, atOnce = false, reached = new Set<string>()): Set<string> {
  for (const { to, late } of imports.filter(({ from }) => from === file)) {
    if (reached.has(to) || (late && atOnce)) continue;
    reached.add(to);
    if (sources.has(to)) reachOf(to, atOnce, reached);
  }
  return reached;
}

test("the search finds imports", () => {
  expect(imports.map(arrow)).toContain("src/client-entry.ts -> src/client/create-client.ts");
  expect(imports.map(arrow)).toContain("src/node/transport.ts -> @connectrpc/connect");
  expect(imports.map(arrow)).not.toContain("src/index.ts -> hawser");
});

test("the examples import each other, entries and gen/ by their public names, Node, and what gen/ itself needs", () => {
  const ofExamples = readdirSync(join(root, "examples"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll(sep, "/"));
  const found = ofExamples.flatMap((file) =>
    importsOf(file, readFileSync(join(root, file), "utf8")),
  );
  expect(found.map(arrow)).toContain("examples/server/serve.ts -> hawser/server");
  const entries = Object.keys(manifest.exports).map((path) => `hawser${path.slice(1)}`);
  const isFine = ({ to }: Import) =>
    ofExamples.includes(to) ||
    isBuiltin(to) ||
    entries.includes(to) ||
    to.startsWith("hawser/gen/") ||
    ["@bufbuild/protobuf", "esbuild", "jose"].includes(packageOf({ to }));
  expect(found.filter((one) => !isFine(one)).map(arrow)).toEqual([]);
});

test("the program hawser imports itself, what is in examples/terminal, entries and gen/ by their public names, and Node", () => {
  const ofProgram = readdirSync(join(root, "cli")).map((file) => `cli/${file}`);
  const found = ofProgram.flatMap((file) =>
    importsOf(file, readFileSync(join(root, file), "utf8")),
  );
  expect(found.map(arrow)).toContain("cli/init.ts -> hawser");
  const entries = Object.keys(manifest.exports).map((path) => `hawser${path.slice(1)}`);
  const isFine = ({ to }: Import) =>
    ofProgram.includes(to) ||
    /^examples\/terminal\/[\w-]+\.ts$/.test(to) ||
    isBuiltin(to) ||
    entries.includes(to) ||
    to.startsWith("hawser/gen/") ||
    packageOf({ to }) === "@bufbuild/protobuf";
  expect(found.filter((one) => !isFine(one)).map(arrow)).toEqual([]);
});

test("every file of the repository that is imported exists, and lies in a layer", () => {
  const lost = imports.filter(isOurs).filter(({ to }) => to.startsWith("src/") && !sources.has(to));
  expect(lost.map(arrow)).toEqual([]);
  expect(files.filter((file) => layers[layerOf(file)] === undefined)).toEqual([]);
});

test("imports between layers point one way", () => {
  const wrong = imports.filter(isOurs).filter(({ from, to }) => {
    const [layer, below] = [layerOf(from), layerOf(to)];
    return layer !== below && layers[layer]?.includes(below) !== true;
  });
  expect(wrong.map(arrow)).toEqual([]);
});

test("the table of layers has no circle", () => {
  const isBelow = (layer: string, above: string): boolean =>
    layers[above]?.some((next) => next === layer || isBelow(layer, next)) === true;
  expect(Object.keys(layers).filter((layer) => isBelow(layer, layer))).toEqual([]);
});

/** The name of the imported package. */
const packageOf = ({ to }: Pick<Import, "to">) => /^(?:@[^/]+\/)?[^/]+/.exec(to)?.[0] as string;
const isPackage = (one: Import) => !isOurs(one) && !isBuiltin(one.to);

/**
 * Only these may need a package that is an optional peer dependency: the engines of logs and the hooks for React, each of which
 * has its own entry, and the WebSockets of servers, which are loaded when a server has the option.
 */
const engines = /^src\/(topics\/(sqlite|jetstream)|node\/web-socket|react)\//;
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const optional = Object.keys(manifest.peerDependenciesMeta);

test("src/ imports itself, gen/, Node, and the dependencies of the package, each of them", () => {
  const fromEngine = (one: Import) => engines.test(one.from) && optional.includes(packageOf(one));
  const packages = new Set(
    imports.filter((one) => isPackage(one) && !fromEngine(one)).map(packageOf),
  );
  expect([...packages].sort()).toEqual(Object.keys(manifest.dependencies).sort());
});

test.each(["src/index.ts", "src/web.ts", "src/server.ts", "src/topics.ts", "src/testing.ts"])(
  "%s imports an optional package only when a caller asks for it",
  (file) => {
    const reached = [...reachOf(file, true)];
    expect(reached.filter((to) => optional.includes(packageOf({ to })))).toEqual([]);
  },
);

test.each(files)("%s is not part of an import cycle", (file) => {
  expect(reachOf(file)).not.toContain(file);
});

/** Where Node may be reached: sockets, threads, files, programs. */
const onNode =
  /^src\/(node\/|testing\/|topics\/(sqlite|jetstream)\/|(index|server|topics|testing|node-version)\.ts$)/;
const nodeGlobals = /\b(Buffer|process|setImmediate|clearImmediate|NodeJS)\b/;

function reachesNode(file: string): boolean {
  const code = (sources.get(file) as string)
    .replace(/\/\*[\s\S]*?\*\/|(?<![:"'`])\/\/.*$/gm, "")
    .replace(/"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g, '""');
  return (
    nodeGlobals.test(code) ||
    imports.some(({ from, to }) => from === file && (isBuiltin(to) || to.startsWith("node:")))
  );
}

test("files that also run without Node use no module and no global of Node", () => {
  const reaching = files.filter((file) => !onNode.test(file) && reachesNode(file));
  expect(reaching).toEqual([]);
});

test("the entry for browsers reaches nothing of Node's, and no compiled codec", () => {
  const reached = [...reachOf("src/web.ts")];
  expect(reached).toContain("src/codec/encode.ts");
  expect(reached.filter((to) => /^src\/(node|server|codec\/compiled)\//.test(to))).toEqual([]);
  expect(reached.filter((to) => isBuiltin(to))).toEqual([]);
  expect(reached).not.toContain("@connectrpc/connect-node");
});

test.each(
  ["client-entry", "index", "web", "react", "server", "topics", "testing"].map(
    (name) => `src/${name}.ts`,
  ),
)("%s has re-exports only, beside the import of its runtime", (file) => {
  const rest = (sources.get(file) as string)
    .replace(/^\/\*\* .* \*\/$/gm, "")
    .replace(/^import "\.\/(node|web)\/runtime\.ts";$/m, "")
    .replace(/^export ((type )?\{[^}]*\}|\*) from "[^"]+";$/gm, "");
  expect(rest.trim()).toBe("");
});
