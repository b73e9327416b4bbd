/**
 * What README.md and the pages of docs/ say of the repository, of each other, and of their own code blocks; the blocks
 * themselves run in readme.test.ts.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { budgetsOf, withDefaults } from "../src/node/server-options.ts";
import { type Block, blocks, pages, readme, tableOf } from "./support/readme.ts";
import { repository } from "./support/workshop.ts";

const manifest = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));

/** The source of a block that repeats a part of another page or of a file. */
const sourceOf = ({ part }: Block) => readFileSync(join(repository, part as string), "utf8");

test("each code block says what it is, and a test runs it", () => {
  // The two others are followed in package.test.ts and in beforeAll, the repository's in a test below.
  const projects = ["repository", "hawser", "greeter", "weather"];
  for (const block of blocks) {
    const isKnown =
      projects.includes(block.in ?? (block.file ?? block.made)?.split("/")[0] ?? "") ||
      (block.run !== undefined && block.language === "ts") ||
      (block.output && blocks[blocks.indexOf(block) - 1]?.in !== undefined) ||
      block.same !== undefined ||
      block.part !== undefined ||
      (block.byHand && block.language === "sh") ||
      block.layout ||
      block.drawing;
    expect(isKnown, `${block.page}, line ${block.line}`).toBe(true);
  }
  for (const { path, text } of pages) {
    const fences = text.split("\n").filter((line) => line.trimStart().startsWith("```"));
    const found = blocks.filter(({ page }) => page === path);
    expect(fences, path).toHaveLength(2 * found.length);
  }
});

test("a part of another page, or of a file, is word for word in it", () => {
  const parts = blocks.filter(({ part }) => part !== undefined);
  expect(parts).not.toEqual([]);
  for (const part of parts) expect(sourceOf(part)).toContain(`\n${part.code}`);
});

test("a page with pieces of programs says what the pieces assume", () => {
  for (const { path, text } of pages.filter(({ path }) => path.startsWith("docs/"))) {
    const hasPieces = blocks.some(({ page, run }) => page === path && run !== undefined);
    expect(text.includes("(../README.md#a-first-program), and `→` shows"), path).toBe(hasPieces);
  }
});

test("commands that no test runs name npm scripts and files that exist", () => {
  const commands = blocks.filter(({ byHand }) => byHand).flatMap(({ code }) => code.split("\n"));
  expect(commands).not.toEqual([]);
  for (const command of commands) {
    const [, script] = /npm (?:run )?(?!ci|install)([\w:]+)/.exec(command) ?? [];
    if (script !== undefined) expect(Object.keys(manifest.scripts)).toContain(script);
    for (const [file] of command.matchAll(/\btest\/[\w./-]+/g)) {
      expect(existsSync(join(repository, file)), file).toBe(true);
    }
  }
});

test("a file that a page prints is the file of the repository", () => {
  const printed = blocks.filter((block) => block.same !== undefined);
  expect(printed).not.toEqual([]);
  for (const { same, code } of printed) {
    expect(code).toBe(readFileSync(join(repository, same as string), "utf8"));
  }
});

describe("the pages", () => {
  test("name each dependency with its reason", () => {
    const page = "docs/development.md";
    const named = (heading: string) => tableOf(heading, page).map(([name]) => name);
    expect(named("Package")).toEqual(Object.keys(manifest.dependencies));
    expect(named("Optional")).toEqual(Object.keys(manifest.peerDependencies));
    expect(named("For development")).toEqual(Object.keys(manifest.devDependencies));
    const tables = ["Package", "Optional", "For development"].map((heading) =>
      tableOf(heading, page),
    );
    expect(tables.flat(2)).not.toContain("");
  });

  test("install the versions that Hawser is built with", () => {
    const install = blocks.filter((block) => block.in === "weather").map(({ code }) => code);
    const versions = { ...manifest.dependencies, ...manifest.devDependencies };
    const pinned = [...install.join().matchAll(/(\S+)@(\d\S*)/g)];
    expect(pinned).toHaveLength(5);
    for (const [, name, version] of pinned) {
      expect(version, name).toBe(versions[name as string].replace("^", ""));
    }
    expect(install.join()).toContain(`hawser-${manifest.version}.tgz`);
  });

  test("compare Hawser with the versions that run in the tests", () => {
    const { dependencies, devDependencies } = manifest;
    expect(readme).toContain(`connect-node ${dependencies["@connectrpc/connect-node"]} `);
    expect(readme).toContain(`@grpc/grpc-js ${devDependencies["@grpc/grpc-js"]},`);
  });

  test("name every npm script", () => {
    const scripts = tableOf("Script", "docs/development.md").map(([script]) =>
      script?.replace(/^npm (run )?/, ""),
    );
    expect(scripts.sort()).toEqual(Object.keys(manifest.scripts).sort());
  });

  test("name the folders of the repository as they are", () => {
    const layout = blocks.find((block) => block.layout)?.code ?? "";
    const named = layout.match(/^\S+|src\/\S+/gm)?.map((path) => path.replace(/\/$/, "")) ?? [];
    for (const path of named) expect(existsSync(join(repository, path)), path).toBe(true);
    const folders = readdirSync(join(repository, "src"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `src/${entry.name}`);
    expect(named).toEqual(expect.arrayContaining(folders));
  });

  test("name every layer of src/", () => {
    const named = tableOf("Layer", "docs/architecture.md").flatMap(([cell = ""]) =>
      cell.split(", "),
    );
    const layers = readdirSync(join(repository, "src"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `src/${entry.name}/`);
    expect(named).toEqual(expect.arrayContaining(layers));
    for (const path of named) expect(existsSync(join(repository, path)), path).toBe(true);
  });

  test("draw the data path with classes and interfaces that exist", () => {
    const sources = readdirSync(join(repository, "src"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
      .join();
    const names = blocks.find((block) => block.drawing)?.code.match(/\b[A-Z]\w+/g) ?? [];
    expect(names).not.toEqual([]);
    const missing = names.filter(
      (name) =>
        !new RegExp(`^export (abstract class|class|interface) ${name}\\b`, "m").test(sources),
    );
    expect(missing).toEqual([]);
  });

  test("promise, in SECURITY.md, limits that are the defaults", () => {
    const options = { routes() {} };
    const { sessions, ...set } = withDefaults(options);
    const budgets = budgetsOf(options, set.readMaxBytes);
    const said = Object.fromEntries(
      tableOf("Bound", "SECURITY.md").map(([, value, option]) => [option, value]),
    );
    const MiB = (bytes = 0) => `${bytes / 1024 / 1024} MiB`;
    const count = (value = 0) => value.toLocaleString("en");
    expect(said).toMatchObject({
      readMaxBytes: MiB(set.readMaxBytes),
      writeMaxBytes: MiB(set.writeMaxBytes),
      maxConcurrentStreams: `${set.maxConcurrentStreams}`,
      maxConnections: count(set.maxConnections),
      maxOpenCalls: count(set.maxOpenCalls),
      connectionBudgetBytes: MiB(budgets.connectionBudgetBytes),
      serverBudgetBytes: MiB(budgets.serverBudgetBytes),
      http1: `${set.http1.headersTimeoutMs / 1000} s; ${set.http1.bodyIdleMs / 1000} s`,
      abuse: `${set.abuseBudget} in a burst, then 200 a second`,
      prefaceTimeoutMs: `${set.prefaceTimeoutMs / 1000} s each`,
      "sessions.maxSessions": count(sessions?.maxSessions),
      "sessions.maxBytes": MiB(sessions?.maxBytes),
      "sessions.graceMs": `${(sessions?.graceMs ?? 0) / 1000} s`,
    });
  });
});

describe("the links and the form of the pages", () => {
  /** The anchors of a page, as GitHub makes them of its headings. */
  const anchorsOf = (text: string) =>
    [...text.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    );

  /** The links of a page into the repository, as paths from its root; links to anchors of the same page are left out. */
  const linksOf = ({ path, text }: { path: string; text: string }) =>
    [...text.matchAll(/\]\((?!https:)([^)#]*)(?:#([^)]*))?\)/g)].map(([, target = "", anchor]) => ({
      to: target === "" ? path : join(dirname(path), target),
      anchor,
    }));

  test.each(pages)("each link and path in $path leads to something that exists", (page) => {
    for (const { to, anchor } of linksOf(page)) {
      expect(existsSync(join(repository, to)), to).toBe(true);
      if (anchor === undefined) continue;
      expect(anchorsOf(readFileSync(join(repository, to), "utf8")), to).toContain(anchor);
    }
    const named = /`((?:test|bench|src|examples|scripts|proto|docs)\/[\w./-]+|\.ci\/run)`/g;
    for (const [, file = ""] of page.text.matchAll(named)) {
      // Of the repository, or of the project that the page makes.
      const isMade = blocks.some((block) => block.file?.endsWith(`/${file}`));
      expect(isMade || existsSync(join(repository, file)), file).toBe(true);
    }
    for (const [, file = ""] of page.text.matchAll(/\bhawser\/dist\/([\w./-]+)\.js\b/g)) {
      const isBuilt = ["ts", "js"].some((end) =>
        existsSync(join(repository, `src/${file}.${end}`)),
      );
      expect(isBuilt, file).toBe(true);
    }
  });

  test("README.md has at most 350 lines, and links to the contents of the other pages", () => {
    expect(readme.split("\n").length).toBeLessThanOrEqual(350);
    const links = linksOf({ path: "README.md", text: readme }).map(({ to }) => to);
    expect(links).toEqual(
      expect.arrayContaining(["docs/README.md", "CONTRIBUTING.md", "SECURITY.md"]),
    );
  });

  test("docs/README.md lists each page of docs/ once", () => {
    const [contents] = pages.filter(({ path }) => path === "docs/README.md");
    const listed = linksOf(contents as (typeof pages)[number]).map(({ to }) => to);
    const inDocs = readdirSync(join(repository, "docs")).filter(
      (name) => name.endsWith(".md") && name !== "README.md",
    );
    expect(listed.filter((to) => to.startsWith("docs/")).sort()).toEqual(
      inDocs.map((name) => `docs/${name}`).sort(),
    );
  });

  test("no page has the words that the glossary says are not used", () => {
    const notUsed = tableOf("Not", "docs/glossary.md").flatMap(([words = ""]) => words.split(", "));
    expect(notUsed).not.toEqual([]);
    for (const { path, text } of pages.filter(({ path }) => path !== "docs/glossary.md")) {
      const found = notUsed.filter((words) =>
        new RegExp(`\\b${words}\\b`, "i").test(text.replace(/\s+/g, " ")),
      );
      expect(found, path).toEqual([]);
    }
  });

  test("each page begins with what its reader can do or knows after it", () => {
    for (const { path, text } of pages) {
      if (!path.startsWith("docs/") || path === "docs/README.md") continue;
      const [heading, first] = text.split("\n\n");
      expect(heading, path).toMatch(/^# .+$/);
      expect(first, path).toMatch(/^After this page /);
    }
  });
});
