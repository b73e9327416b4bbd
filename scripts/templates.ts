/**
 * Makes templates/ of the examples, for `hawser init`: `npm run build`, and so `npm pack`, runs it.
 *
 * A template is what lies in examples/template (shared) and examples/NAME/template, each file at the template's root, and
 * everything that these import and that its npm scripts run: other files of examples/ at the same place below the root, and
 * the .proto files of generated code. The template generates its code itself, so `hawser/gen/…` becomes `./gen/…`.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

export const templateNames = ["greeter", "rooms"] as const;

/** An import of a value or of a type, at the top of a module or by import(). */
const IMPORT = /(\bfrom\s+|\bimport\s*\(?\s*)"([^"\n]+)"/g;

/** The repository's manifest: a template has the versions with which Hawser is built. */
interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
}

/** manifest.json: package.json without versions. */
interface TemplateManifest {
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: readonly string[];
  readonly devDependencies: readonly string[];
}

/** Writes each template to a folder of its name in `folder`, which is emptied first. */
export async function makeTemplates(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  for (const name of templateNames) await makeTemplate(name, join(folder, name));
}

async function makeTemplate(name: string, folder: string): Promise<void> {
  const own = [
    ...(await filesIn("examples/template")),
    ...(await filesIn(`examples/${name}/template`)),
  ];
  // It grows while it is read: each file adds what it imports.
  const sources = new Set(own);
  for (const source of sources) {
    const target = join(folder, placeOf(source));
    await mkdir(dirname(target), { recursive: true });
    if (source.endsWith("/manifest.json"))
      await writeFile(target, await manifestOf(source, sources));
    else if (source.endsWith(".ts")) await writeFile(target, await moduleOf(source, sources));
    else await cp(join(root, source), target);
  }
}

/** Returns the text of a module as the template has it, and adds the files that it imports to `sources`. */
async function moduleOf(source: string, sources: Set<string>): Promise<string> {
  const text = await readFile(join(root, source), "utf8");
  return text.replace(IMPORT, (whole, before: string, specifier: string) => {
    const [, generated] = /^hawser\/gen\/(?!hawser\/)(.*)_pb\.js$/.exec(specifier) ?? [];
    if (generated === undefined && !specifier.startsWith(".")) return whole;
    const imported =
      generated === undefined ? posix.join(dirname(source), specifier) : `proto/${generated}.proto`;
    sources.add(imported);
    const place = generated === undefined ? placeOf(imported) : `gen/${generated}_pb.js`;
    const path = posix.relative(posix.dirname(placeOf(source)), place);
    return `${before}"${path.startsWith(".") ? path : `./${path}`}"`;
  });
}

/** Returns the place of a file of the repository in its template. */
function placeOf(source: string): string {
  return source
    .replace(/^examples\/(.*\/)?template\//, "")
    .replace(/^examples\//, "")
    .replace(/^manifest\.json$/, "package.json");
}

/** Returns the text of a template's package.json, to which `hawser init` adds the name; adds what scripts run to `sources`. */
async function manifestOf(source: string, sources: Set<string>): Promise<string> {
  const { version, dependencies, devDependencies, allowScripts } =
    await readJson<Manifest>("package.json");
  const versions: Record<string, string> = {
    ...devDependencies,
    ...dependencies,
    hawser: `^${version}`,
  };
  const template = await readJson<TemplateManifest>(source);
  const versionsOf = (names: readonly string[]) =>
    Object.fromEntries(
      names.map((name) => {
        const found = versions[name];
        if (found === undefined)
          throw new Error(`${source}: package.json has no version of ${name}`);
        return [name, found];
      }),
    );
  const own = new Set([...sources].map(placeOf));
  for (const [, program] of Object.values(template.scripts)
    .join("\n")
    .matchAll(/\bnode (\S+\.ts)/g)) {
    if (!own.has(program as string)) sources.add(`examples/${program}`);
  }
  const named = [...template.dependencies, ...template.devDependencies];
  const manifest = {
    private: true,
    type: "module",
    engines: { node: ">=24" },
    scripts: template.scripts,
    allowScripts: Object.fromEntries(
      named.flatMap((name) => (name in allowScripts ? [[name, allowScripts[name]]] : [])),
    ),
    dependencies: versionsOf(template.dependencies),
    devDependencies: versionsOf(template.devDependencies),
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/** The files in a folder of the repository, as paths from its root. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll(sep, "/"));
}

async function readJson<T>(path: string): Promise<T> {
  // The two shapes of JSON that are read here are files of this repository.
  return JSON.parse(await readFile(join(root, path), "utf8")) as T;
}

if (import.meta.main) await makeTemplates(join(root, "templates"));
