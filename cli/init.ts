import { readdirSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Code, ConnectError } from "hawser";
import { command } from "../examples/terminal/command.ts";
import { nearest } from "../examples/terminal/nearest.ts";
import { printLine } from "../examples/terminal/output.ts";
import { argument, option, Unreadable } from "../examples/terminal/parameter.ts";
import { systemCode } from "../examples/terminal/report.ts";
import { shellWord } from "../examples/terminal/shell-word.ts";

/** Where the package has its templates, a folder each; `npm run build` makes them of the examples. */
const templates = fileURLToPath(new URL("templates", import.meta.resolve("hawser/package.json")));

export const init = command({
  program: "hawser",
  usage: "npx hawser init",
  about: "Makes a project in a new or empty directory: contract, server, client, a test. Offline.",
  arguments: {
    dir: argument("<dir>", "the directory, which must be empty if it exists", readDirectory),
  },
  options: {
    template: option("<name>", "what to begin with: greeter or rooms", {
      read: readTemplate,
      otherwise: "greeter",
    }),
  },
  more: `
Templates:
  greeter   a service with each of the four kinds of call
  rooms     chat rooms that lose no message when their server is killed

Examples:
  $ npx hawser init my-service
  $ npx hawser init chat --template rooms
  $ mkdir here && cd here && npx hawser init .`,
  async run({ dir, template }) {
    const folder = resolve(dir);
    await claim(folder, dir);
    await cp(join(templates, template), folder, { recursive: true });
    // npm packs no file of that name.
    await rename(join(folder, "gitignore"), join(folder, ".gitignore"));
    await nameProject(join(folder, "package.json"), packageName(basename(folder)));
    await printLine(nextSteps(dir, folder));
  },
});

function readDirectory(text: string): string {
  if (text !== "") return text;
  throw new Unreadable("write the path of a directory, such as my-service");
}

function readTemplate(text: string): string {
  const names = readdirSync(templates).sort();
  if (names.includes(text)) return text;
  const near = nearest(text, names);
  throw new Unreadable(
    near === undefined ? `there is ${names.join(", ")}` : `did you mean ${near}?`,
  );
}

/** Makes the directory, if there is none. Throws ALREADY_EXISTS if it has a file, or another code, with the remedy. */
async function claim(folder: string, dir: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    const [first] = await readdir(folder);
    if (first === undefined) return;
    throw new ConnectError(
      `${dir} is not empty, it has ${first}: name a new directory, or empty this one`,
      Code.AlreadyExists,
    );
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    switch (systemCode(error)) {
      case "EEXIST":
      case "ENOTDIR":
        throw new ConnectError(`${dir} is, or is in, a file: name a directory`, Code.AlreadyExists);
      case "EACCES":
      case "EPERM":
      case "EROFS":
        throw new ConnectError(
          `no permission to write to ${dir}: name another directory`,
          Code.PermissionDenied,
        );
      default:
        throw error;
    }
  }
}

async function nameProject(manifest: string, name: string): Promise<void> {
  const rest = JSON.parse(await readFile(manifest, "utf8"));
  await writeFile(manifest, `${JSON.stringify({ name, ...rest }, undefined, 2)}\n`);
}

/** Returns a name that npm accepts, made of that of a directory. */
function packageName(directory: string): string {
  const name = directory
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[._-]+|-+$/g, "");
  // npm would take the name of a project that is called like one of its packages for that package.
  return name === "" || name === "hawser" ? "my-service" : name;
}

function nextSteps(dir: string, folder: string): string {
  const enter = folder === process.cwd() ? [] : [`  cd ${shellWord(dir)}`];
  return [
    `made a project in ${dir}; its README.md says what is in it. Next:`,
    ...enter,
    "  npm install",
    "  npm run generate   # gen/, from proto/",
    "  npm test",
    "  npm start",
  ].join("\n");
}
