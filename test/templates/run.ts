/**
 * `npm run templates`: each template of `hawser init`, from the packed package and in an empty directory, as its README.md
 * says: install, generate, test, start, a call; its types with TypeScript 5.9 and 7; then its server with only the packages
 * that its Dockerfile leaves. `npm run templates -- greeter` runs one of them.
 */
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { templateNames } from "../../scripts/templates.ts";
import { freePort } from "../support/free-port.ts";
import { openWorkshop, type Workshop } from "../support/workshop.ts";

/** The last release before TypeScript 7, which the templates install. */
const OLDER_TYPESCRIPT = "typescript@5.9.3";

type TemplateName = (typeof templateNames)[number];

/** What a template's README has a user type while the server runs, or nearly so, and what it must print. */
const CALLS: Record<TemplateName, (url: string) => [command: string, prints: RegExp][]> = {
  greeter: (url) => [
    [`node client.ts ${url}`, /^(?:Server says: Received: Message \d\n){3}$/],
    [
      `printf '{"content":"ahoy"}' | npx hawser call ${url} example.Greeter/Chat`,
      /^\{"reply":"Received: ahoy"\}\n$/,
    ],
  ],
  rooms: (url) => [
    [`node rooms/client.ts post lobby ahoy --url ${url}`, /^posted 1 message\n$/],
    [`npx hawser call ${url} chat.v1.RoomService/ListRooms`, /"name":"lobby"/],
  ],
};

/** The programs that the image of a template's Dockerfile is made by, and the one that it starts. */
const IMAGE = {
  made: ["npm install", "npm run generate", "npm prune --omit=dev"],
  started: ["node", "server.ts"],
};

const startedAt = performance.now();

/** Prints how long the run has taken so far, and what it has done. */
function log(text: string): void {
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(1)} s`.padStart(8), ` ${text}`);
}

async function tryTemplate(workshop: Workshop, name: TemplateName, tarball: string): Promise<void> {
  const steps: [step: string, command: string][] = [
    ["install", `npm install ${tarball}`],
    ["generate", "npm run generate && npx buf lint"],
    ["test", "npm test"],
    ["types by TypeScript 7", "npm run types"],
    ["types by TypeScript 5.9", "node ../tools/node_modules/typescript/bin/tsc"],
  ];
  await workshop.run("tools", "npx", "hawser", "init", `../${name}`, "--template", name);
  log(`${name}: init`);
  for (const [step, command] of steps) {
    await workshop.run(name, "sh", "-ec", command);
    log(`${name}: ${step}`);
  }
  await makeCalls(workshop, name, "npm start");
  const dockerfile = await readFile(join(workshop.folder, name, "Dockerfile"), "utf8");
  assert.deepEqual(dockerfile.match(/(?<=^RUN ).*/gm), IMAGE.made);
  assert.deepEqual(JSON.parse(/^CMD (.*)$/m.exec(dockerfile)?.[1] ?? ""), IMAGE.started);
  await workshop.run(name, "npm", "prune", "--omit=dev");
  await makeCalls(workshop, name, IMAGE.started.join(" "));
}

/** Starts the server of a template by a command, and makes its calls. */
async function makeCalls(workshop: Workshop, name: TemplateName, start: string): Promise<void> {
  const port = await freePort();
  const isUp = (printed: string) => printed.includes(`listening on http://127.0.0.1:${port}\n`);
  await using _server = await workshop.serve(name, `PORT=${port} exec ${start}`, isUp);
  for (const [command, prints] of CALLS[name](`http://127.0.0.1:${port}`)) {
    assert.match(await workshop.run(name, "sh", "-ec", command), prints);
    log(`${name}: ${start}, and ${command}`);
  }
}

const [, , only] = process.argv;
const names = templateNames.filter((name) => only === undefined || name === only);
if (names.length === 0) {
  throw new Error(`there is no template ${only}: there is ${templateNames.join(", ")}`);
}

await using workshop = await openWorkshop();
const tarball = (await workshop.run("hawser", "npm", "pack", "--silent")).trim();
log(`packed ${tarball}`);
// Another project than the templates, which do not need the older compiler.
await mkdir(join(workshop.folder, "tools"));
await writeFile(join(workshop.folder, "tools", "package.json"), '{ "private": true }');
await workshop.run("tools", "npm", "install", `../hawser/${tarball}`, OLDER_TYPESCRIPT);
log(`installed it, and ${OLDER_TYPESCRIPT}`);
for (const name of names) await tryTemplate(workshop, name, `../hawser/${tarball}`);
log("all is well");
