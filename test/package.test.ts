import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { makeTemplates } from "../scripts/templates.ts";
import { temporary } from "./support/temporary.ts";
import { openWorkshop, repository, type Workshop } from "./support/workshop.ts";

// These tests run npm install, from npm's cache or from the registry.
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

test("the package has exactly src/ and its build, the program hawser, templates, gen/, Hawser's contracts, google.rpc and the four files at the root", async () => {
  const packed = (await workshop.run(".", "tar", "-tzf", tarball)).trim().split("\n").sort();
  const [sources, gen, proto, google, cli] = await Promise.all(
    ["src", "gen", "proto/hawser", "proto-google", "cli"].map((folder) =>
      filesIn(join(repository, folder)),
    ),
  );
  const templates = await temporary();
  await makeTemplates(templates);
  const built = sources?.flatMap((file) =>
    ["js", "d.ts", "d.ts.map"].map((ending) => `dist/${file.replace(/[jt]s$/, ending)}`),
  );
  const expected = [
    ...["CHANGELOG.md", "LICENSE", "README.md", "package.json"],
    ...(built ?? []),
    ...(sources ?? []).map((file) => `src/${file}`),
    ...(gen ?? []).map((file) => `gen/${file}`),
    ...(proto ?? []).map((file) => `proto/hawser/${file}`),
    ...(google ?? []).map((file) => `proto-google/${file}`),
    ...(cli ?? []).map((file) => `dist/bin/cli/${file.replace(/ts$/, "js")}`),
    ...(await filesIn(templates)).map((file) => `templates/${file}`),
  ];
  await rm(templates, { recursive: true });
  // What the program hawser shares with the examples: those of its imports that are not in cli/.
  const shared = /^package\/dist\/bin\/examples\/terminal\/[\w-]+\.js$/;
  expect(packed.filter((file) => shared.test(file))).not.toEqual([]);
  expect(packed.filter((file) => !shared.test(file))).toEqual(
    expected.map((file) => `package/${file}`).sort(),
  );
});

test("an editor finds the source of each declaration in the package", async () => {
  const folder = "declarations";
  await mkdir(join(workshop.folder, folder));
  await workshop.run(folder, "tar", "-xzf", `../${tarball}`);
  const root = join(workshop.folder, folder, "package");
  const maps = (await filesIn(join(root, "dist"))).filter((file) => file.endsWith(".d.ts.map"));
  expect(maps).toContain("index.d.ts.map");
  for (const map of maps) {
    const path = join(root, "dist", map);
    const { sources, sourceRoot } = JSON.parse(await readFile(path, "utf8"));
    expect(sources).toHaveLength(1);
    const source = join(dirname(path), sourceRoot ?? "", sources[0]);
    expect(source).toMatch(new RegExp(`^${root}/src/.*[jt]s$`));
    await stat(source);
    expect(await readFile(path.replace(/\.map$/, ""), "utf8")).toContain("sourceMappingURL");
  }
});

test("the package is small", async () => {
  const { size } = await stat(join(workshop.folder, tarball));
  expect(size).toBeGreaterThan(10_000);
  // Over a third of it is source files and declaration maps; the templates are 45 KB, google.rpc, with its comments, is 11 KB.
  expect(size).toBeLessThan(1_130_000);
});

test("the README's first program runs in a project of hawser init, the types check it, and each entry of the package can be imported", async () => {
  await workshop.follow("greeter");
  const project = join(workshop.folder, "greeter");

  // The options leave out skipLibCheck, so that the types of the package itself are checked too.
  const compilerOptions = {
    target: "es2024",
    lib: ["es2024", "esnext.disposable", "dom", "dom.iterable"],
    module: "nodenext",
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    allowImportingTsExtensions: true,
    noEmit: true,
  };
  await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  await workshop.run("greeter", "npx", "tsc");
  const program = await readFile(join(project, "client.ts"), "utf8");
  await writeFile(join(project, "wrong.ts"), program.replace("content:", "contents:"));
  await expect(workshop.run("greeter", "npx", "tsc")).rejects.toThrow(
    /wrong\.ts.*'contents' does not exist/,
  );

  const resolved = await workshop.run(
    ...(["greeter", "node", "--input-type=module", "--eval"] as const),
    `for (const name of ["", "/server", "/topics", "/topics/sqlite", "/testing", "/gen/example/greeter_pb.js", "/package.json"]) {
         const type = name.endsWith("json") ? { with: { type: "json" } } : undefined;
         console.log(Object.keys(await import("hawser" + name, type)).length > 0);
       }
       const { sqliteLog } = await import("hawser/topics/sqlite");
       await sqliteLog("log.db").catch(({ message }) => console.log(message));
       await import("hawser/dist/index.js").catch(({ code }) => console.log(code));
       console.log(import.meta.resolve("hawser/proto/hawser/v1/resume.proto"));`,
  );
  const contract = join(project, "node_modules/hawser/proto/hawser/v1/resume.proto");
  expect(resolved.trim().split("\n")).toEqual([
    ...["true", "true", "true", "true", "true", "true", "true"],
    "[failed_precondition] a log in SQLite needs the package better-sqlite3: npm install better-sqlite3",
    "ERR_PACKAGE_PATH_NOT_EXPORTED",
    `file://${contract}`,
  ]);
  expect(await readFile(contract, "utf8")).toBe(
    await readFile(join(repository, "proto/hawser/v1/resume.proto"), "utf8"),
  );
});

test("hawser init makes a project in a new or empty directory, and leaves any other as it is", async () => {
  const init = (...words: string[]) => workshop.run("greeter", "npx", "hawser", "init", ...words);
  await mkdir(join(workshop.folder, "empty"));
  await expect(init("../empty", "--template", "rooms")).resolves.toMatch(/^made a project in /);
  const made = await filesIn(join(workshop.folder, "empty"));
  expect(made).toEqual(
    expect.arrayContaining([".gitignore", "Dockerfile", "README.md", "server.ts"]),
  );
  expect(
    JSON.parse(await readFile(join(workshop.folder, "empty/package.json"), "utf8")),
  ).toMatchObject({
    name: "empty",
    dependencies: { hawser: `^${version}` },
  });

  await mkdir(join(workshop.folder, "full"));
  await writeFile(join(workshop.folder, "full/notes.txt"), "mine");
  await expect(init("../full")).rejects.toThrow(
    "exit code 1\nhawser: already_exists: ../full is not empty, it has notes.txt: name a new directory, or empty this one\n",
  );
  expect(await filesIn(join(workshop.folder, "full"))).toEqual(["notes.txt"]);
  await expect(init("../full/notes.txt/deeper")).rejects.toThrow(
    "exit code 1\nhawser: already_exists: ../full/notes.txt/deeper is, or is in, a file: name a directory\n",
  );
});

test("a command line of hawser that is not valid is one line, with the remedy and exit code 2", async () => {
  const hawser = (...words: string[]) => workshop.run("greeter", "npx", "hawser", ...words);
  const lines: [words: string[], line: string][] = [
    [[], "name a command: init, call, list"],
    [["innit"], "there is no command innit: did you mean init?"],
    [["init"], "<dir> is missing: the directory, which must be empty if it exists"],
    [["init", "a", "--template", "room"], "--template 'room' is not valid: did you mean rooms?"],
    [["init", "a", "b"], "'b' is one argument too many: --help lists those there are"],
  ];
  for (const [words, line] of lines) {
    await expect(hawser(...words)).rejects.toThrow(
      `exit code 2\nhawser: invalid_argument: ${line}`,
    );
  }
  await expect(hawser("init", "--help")).resolves.toContain("\nExamples:\n  $ npx hawser init ");
});

test("where buf is missing, --proto says what to install", async () => {
  const main = "../greeter/node_modules/hawser/dist/bin/cli/main.js";
  const list = `PATH="${join(workshop.folder, "bin")}" exec node ${main} list --proto .`;
  await expect(workshop.run("empty", "sh", "-c", list)).rejects.toThrow(
    "exit code 1\nhawser: failed_precondition: --proto needs buf, which compiles .proto files: npm install --save-dev @bufbuild/buf\n",
  );
});

/** A user's service that resumes from a cursor: a program whose server fails and whose client resumes. */
const feed = {
  "package.json": '{ "private": true, "type": "module" }',
  "buf.yaml": `version: v2
modules:
  - path: proto
  - path: node_modules/hawser/proto
`,
  "buf.gen.yaml": `version: v2
inputs:
  - directory: proto
plugins:
  - local: protoc-gen-es
    out: gen
    include_imports: true
    opt: [target=js+dts, import_extension=js]
`,
  "proto/feed/v1/feed.proto": `syntax = "proto3";
package feed.v1;
import "hawser/v1/resume.proto";
service FeedService {
  rpc Follow(FollowRequest) returns (stream FollowResponse) {
    option (hawser.v1.resume) = {cursor: "last_place" after: "behind_place"};
  }
}
message FollowRequest { string behind_place = 1; }
message FollowResponse { string last_place = 1; }
`,
  // The user's .proto files with the same paths as files in Hawser's repository.
  "proto/chat/v1/room.proto": `syntax = "proto3";
package chat.v1;
message Seat { string row = 1; }
`,
  "proto/example/greeter.proto": `syntax = "proto3";
package example;
message Curtsey { string depth = 1; }
`,
  "feed.ts": `import { Code, ConnectError, createClient, createTransport } from "hawser";
import { createServer } from "hawser/server";
import { FeedService } from "./gen/feed/v1/feed_pb.js";

const server = createServer({
  routes: (router) =>
    router.service(FeedService, {
      async *follow({ behindPlace }) {
        yield { lastPlace: String(Number(behindPlace) + 1) };
        throw new ConnectError("again", Number(behindPlace) < 2 ? Code.Unavailable : Code.Aborted);
      },
    }),
});
const { url } = await server.listen({ port: 0 });
const transport = createTransport({ baseUrl: url });
try {
  const places = createClient(FeedService, transport).follow({});
  for await (const { lastPlace } of places) console.log(lastPlace);
} catch (error) {
  console.log(ConnectError.from(error).message);
}
await transport.close();
await server.close();
`,
};

test("a user's service resumes from the cursor that its .proto declares with the package's option", async () => {
  for (const [file, text] of Object.entries(feed)) {
    const path = join(workshop.folder, "feed", file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  await workshop.run("feed", "npm", "install", `../${tarball}`);
  const tools = join(repository, "node_modules", ".bin");
  const generate = `PATH="${tools}${delimiter}$PATH" buf generate`;
  await workshop.run("feed", "sh", "-c", generate);
  expect(await filesIn(join(workshop.folder, "feed", "gen"))).toEqual(
    ["chat/v1/room_pb", "example/greeter_pb", "feed/v1/feed_pb", "hawser/v1/resume_pb"].flatMap(
      (name) => [`${name}.d.ts`, `${name}.js`],
    ),
  );
  expect(await workshop.run("feed", "node", "feed.ts")).toBe("1\n2\n3\n[aborted] again\n");

  const proto = join(workshop.folder, "feed/proto/feed/v1/feed.proto");
  await writeFile(proto, feed["proto/feed/v1/feed.proto"].replace('"last_place"', '"place"'));
  await workshop.run("feed", "sh", "-c", generate);
  await expect(workshop.run("feed", "node", "feed.ts")).resolves.toContain(
    'feed.v1.FeedService.Follow: its option hawser.v1.resume has cursor: "place"',
  );
});

/** A user's contract that has google.rpc's messages in it, with the modules of buf.yaml. */
const withStatus = (...modules: string[]) => ({
  "package.json": '{ "private": true, "type": "module" }',
  "buf.yaml": `version: v2
modules:
${["proto", ...modules].map((path) => `  - path: ${path}\n`).join("")}`,
  "buf.gen.yaml": feed["buf.gen.yaml"],
  "proto/report/v1/report.proto": `syntax = "proto3";
package report.v1;
import "google/rpc/error_details.proto";
message Report { google.rpc.BadRequest wrong = 1; }
`,
  // google.rpc from elsewhere: the files of another package, or of buf.build/googleapis/googleapis.
  "vendor/google/rpc/error_details.proto": readFileSync(
    join(repository, "proto-google/google/rpc/error_details.proto"),
    "utf8",
  ),
  "report.ts": `import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "hawser";
import { BadRequestSchema as Published } from "hawser/gen/google/rpc/error_details_pb.js";
import { BadRequestSchema as Own } from "./gen/google/rpc/error_details_pb.js";
import { ReportSchema } from "./gen/report/v1/report_pb.js";

const { wrong } = create(ReportSchema, { wrong: { fieldViolations: [{ field: "name" }] } });
const error = new ConnectError("", Code.InvalidArgument, undefined, [{ desc: Own, value: wrong }]);
console.log(error.findDetails(Published)[0].fieldViolations[0].field);
`,
});

test.each([
  ["from the package", "node_modules/hawser/proto-google"],
  ["from elsewhere", "vendor"],
])("a user's contract uses google.rpc %s, beside Hawser's contracts", async (_, google) => {
  const folder = `report-${google.replaceAll("/", "-")}`;
  const tools = join(repository, "node_modules", ".bin");
  const buf = (command: string) =>
    workshop.run(folder, "sh", "-c", `PATH="${tools}${delimiter}$PATH" buf ${command}`);
  const write = async (files: Record<string, string>) => {
    for (const [file, text] of Object.entries(files)) {
      const path = join(workshop.folder, folder, file);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    }
  };
  await write(withStatus("node_modules/hawser/proto", google));
  await workshop.run(folder, "npm", "install", `../${tarball}`);
  await buf("generate");
  expect(await workshop.run(folder, "node", "report.ts")).toBe("name\n");

  // This is why the folder is one of its own.
  await write(withStatus("node_modules/hawser/proto-google", "vendor"));
  await expect(buf("build")).rejects.toThrow("contained in multiple modules");
});
