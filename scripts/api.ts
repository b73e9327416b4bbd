/**
 * Writes the public surface, which is committed: for each entry of package.json the declarations that it exports, one
 * file in test/api/.
 *
 *     node scripts/api.ts            writes the files
 *     node scripts/api.ts --check    compares, and fails if they differ: an intended change is committed with new files
 *
 * The declarations are those that tsc emits, by name in alphabetical order, without comments, so that a change of words
 * does not change the surface; below them are the types that they mention and that cannot be imported. This is a script
 * because the tools for it (api-extractor, bundlers of .d.ts) use the compiler's JavaScript API, which TypeScript 7
 * does not have.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** The texts of .d.ts files, by their path. */
export type Declarations = ReadonlyMap<string, string>;

/** The meaning of a name in a file: a declaration there, or an export of another file or of a package. */
type Meaning =
  | { readonly from: string; readonly name: string; readonly onlyType: boolean }
  | { readonly text: string };

interface Module {
  /** Everything that has a name in the file, its imports included. */
  readonly scope: ReadonlyMap<string, Meaning>;
  readonly exported: ReadonlyMap<string, Meaning>;
}

interface Declaration {
  readonly name: string;
  readonly file: string;
  readonly text: string;
}

/** A declaration that lies elsewhere: in a package, or in gen/. */
interface Foreign {
  readonly name: string;
  readonly from: string;
}

/** Returns the surface of one entry: the text of its file in test/api/. */
export function surfaceOf(files: Declarations, entry: string): string {
  const modules = new Map<string, Module>();
  const moduleOf = (file: string) => {
    const known = modules.get(file) ?? readModule(files, file);
    modules.set(file, known);
    return known;
  };

  /** Follows a name to its declaration: in one of the files, or in a package. */
  function find(name: string, file: string, meaning: Meaning | undefined): Declaration | Foreign {
    if (meaning === undefined) throw new Error(`${file} has no ${name}`);
    if ("text" in meaning) return { name, file, text: meaning.text };
    if (!files.has(meaning.from)) return meaning;
    return find(meaning.name, meaning.from, moduleOf(meaning.from).exported.get(meaning.name));
  }

  /** Returns the declarations of the files that a declaration mentions. */
  function mentionedBy({ name, file, text }: Declaration): Declaration[] {
    const { scope } = moduleOf(file);
    const names = [...text.matchAll(/(?<![.\w$])[A-Za-z_$][\w$]*/g)].map(([word]) => word);
    const inline = [...text.matchAll(INLINE)].map(([, from, word]): [string, Meaning] => [
      word as string,
      { from: resolve(file, from as string), name: word as string, onlyType: true },
    ]);
    const meanings = new Map([
      ...names.flatMap((word): [string, Meaning][] => {
        const meaning = scope.get(word);
        return word === name || meaning === undefined ? [] : [[word, meaning]];
      }),
      ...inline,
    ]);
    return [...meanings]
      .map(([word, meaning]) => find(word, file, meaning))
      .filter((found) => "text" in found);
  }

  const shown = new Map<string, string>();
  /** All declarations that were found, by their names. */
  const remembered = new Map<string, Declaration>();
  const below = new Map<string, string>();
  const queue: Declaration[] = [];
  /** Records a declaration. Returns whether it is found for the first time. */
  const remember = (one: Declaration): boolean => {
    const same = remembered.get(one.name);
    if (same === undefined) {
      remembered.set(one.name, one);
      queue.push(one);
    } else if (same.file !== one.file) {
      throw new Error(`two declarations have the name ${one.name}: ${same.file}, ${one.file}`);
    }
    return same === undefined;
  };
  const showBelow = (one: Declaration) => {
    const plain = { ...one, text: withoutConstructor(one.text).replace(/^export /, "") };
    if (remember(plain)) below.set(plain.name, plain.text);
  };

  const renamed: Declaration[] = [];
  for (const [name, meaning] of moduleOf(entry).exported) {
    const found = find(name, entry, meaning);
    const as = found.name === name ? name : `${found.name} as ${name}`;
    if (!("text" in found)) shown.set(name, `export { ${as} } from "${found.from}";`);
    else if (found.name !== name) {
      shown.set(name, `export { ${as} };`);
      renamed.push(found);
    } else {
      // A program that imports only the type cannot make one.
      const isType = "from" in meaning && meaning.onlyType;
      const one = isType ? { ...found, text: withoutConstructor(found.text) } : found;
      shown.set(name, one.text);
      remember(one);
    }
  }
  for (const one of renamed) showBelow(one);
  for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
    for (const found of mentionedBy(one)) showBelow(found);
  }
  const inOrder = (texts: Iterable<[string, string]>) =>
    [...texts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text.replace(INLINE, "$2"));
  const hidden = inOrder(below);
  return `${[
    "// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.",
    ...inOrder(shown),
    ...(hidden.length === 0 ? [] : ["// Types that these mention, and that cannot be imported."]),
    ...hidden,
  ].join("\n\n")}\n`;
}

/** Returns what was removed from a surface, and what was added. A changed declaration is both. */
export function changes(before: string, after: string): string[] {
  const [old, made] = [before, after].map((text) => new Set(text.trim().split("\n\n")));
  const lines = (block: string, mark: string) => block.replace(/^/gm, `${mark} `);
  return [
    ...[...(old ?? [])].filter((block) => made?.has(block) !== true).map((one) => lines(one, "-")),
    ...[...(made ?? [])].filter((block) => old?.has(block) !== true).map((one) => lines(one, "+")),
  ];
}

/** `import("./file.ts").Name`, which tsc writes for a type that the source does not name. */
const INLINE = /import\("(\.[^"]+)"\)\.(\w+)/g;

function resolve(file: string, to: string): string {
  if (!to.startsWith(".")) return to;
  return posix.join(posix.dirname(file), to.replace(/\.[jt]s$/, ".d.ts"));
}

/** Reads a file. Each statement that tsc emits begins in the first column of a line; only its last brace does too. */
function readModule(files: Declarations, file: string): Module {
  const text = (files.get(file) as string)
    .replace(/("(?:[^"\\\n]|\\.)*")|\/\*[\s\S]*?\*\/|\/\/.*$/gm, "$1")
    .replace(/[ \t]+$/gm, "")
    .replace(/\n{2,}/g, "\n");
  const scope = new Map<string, Meaning>();
  const exported = new Map<string, Meaning>();
  for (const statement of text.trim().split(/\n(?=[a-z@])/)) {
    // An import for its effect only.
    if (/^import "[^"]+";$/.test(statement)) continue;
    const [, all] = /^export \* from "([^"]+)";$/.exec(statement) ?? [];
    if (all !== undefined) {
      for (const [name, meaning] of readModule(files, resolve(file, all)).exported) {
        exported.set(name, meaning);
      }
      continue;
    }
    const clause =
      /^(import|export) (type )?(?:(\* as )?(\w+),? ?)?(?:\{([^}]*)\})?(?: from "([^"]+)")?;$/.exec(
        statement,
      );
    if (clause !== null) {
      const [, keyword, allTypes, star, whole, list = "", source] = clause;
      const from = source === undefined ? file : resolve(file, source);
      if (whole !== undefined)
        scope.set(whole, { from, name: star === undefined ? "default" : "*", onlyType: false });
      for (const item of list
        .split(",")
        .map((one) => one.trim())
        .filter(Boolean)) {
        const parts = /^(type )?(\S+)(?: as (\S+))?$/.exec(item);
        if (parts === null) throw new Error(`${file}: what is this?\n${item}`);
        const [, type, name, as = name] = parts;
        const meaning = { from, name: name as string, onlyType: (allTypes ?? type) !== undefined };
        // `export { a }` without a source exports a name of the file itself.
        if (keyword === "import") scope.set(as as string, meaning);
        else
          exported.set(
            as as string,
            source === undefined ? (scope.get(name as string) as Meaning) : meaning,
          );
      }
      continue;
    }
    const name =
      /^(?:export )?(?:declare )?(?:abstract )?(?:interface|type|class|function|const|let|enum|namespace) ([\w$]+)/.exec(
        statement,
      )?.[1];
    if (name === undefined) throw new Error(`${file}: what is this?\n${statement}`);
    const before = scope.get(name);
    // Joins overloads, and interfaces in parts.
    const whole =
      before !== undefined && "text" in before ? `${before.text}\n${statement}` : statement;
    scope.set(name, { text: whole });
    if (statement.startsWith("export ")) exported.set(name, { text: whole });
  }
  return { scope, exported };
}

function withoutConstructor(text: string): string {
  return text.replace(/^ {4}constructor\((?:.*\);|[\s\S]*?^ {4}.*\);)\n/m, "");
}

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "test", "api");

/** Returns the declarations of src/, as the package has them. */
function emitted(): Declarations {
  const out = mkdtempSync(join(tmpdir(), "hawser-api-"));
  try {
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    const args = [
      "-p",
      join(root, "tsconfig.build.json"),
      "--emitDeclarationOnly",
      "--outDir",
      out,
    ];
    const { status, stdout } = spawnSync(process.execPath, [tsc, ...args], { encoding: "utf8" });
    if (status !== 0) throw new Error(stdout);
    const files = readdirSync(out, { recursive: true, withFileTypes: true })
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => path.endsWith(".d.ts"));
    return new Map(
      files.map((path) => [
        `dist/${relative(out, path).replaceAll(sep, "/")}`,
        readFileSync(path, "utf8"),
      ]),
    );
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** Returns the entries that have types: the name of the file in test/api/, and the file of the declarations. */
function entries(): [string, string][] {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    exports: Record<string, string | { types?: string }>;
  };
  return Object.entries(exports).flatMap(([path, target]): [string, string][] => {
    const types = typeof target === "string" ? undefined : target.types;
    if (types === undefined) return [];
    const name = path === "." ? "index" : path.slice(2).replaceAll("/", "-");
    return [[`${name}.d.ts`, types.replace(/^\.\//, "")]];
  });
}

function main(isCheck: boolean): void {
  const files = emitted();
  const made = new Map(entries().map(([name, entry]) => [name, surfaceOf(files, entry)]));
  if (!isCheck) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    for (const [name, text] of made) writeFileSync(join(folder, name), text);
    return;
  }
  const committed = new Map(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]),
  );
  for (const name of new Set([...committed.keys(), ...made.keys()])) {
    const changed = changes(committed.get(name) ?? "", made.get(name) ?? "");
    if (changed.length === 0) continue;
    console.log(`test/api/${name}\n\n${changed.join("\n\n")}\n`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.includes("--check"));
