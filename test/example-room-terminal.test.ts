import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { gate } from "./support/gate.ts";
import { exampleOnTerminal } from "./support/program.ts";
import { serveRooms } from "./support/room-server.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

/** util-linux's script(1) makes a terminal; the one of BSD and macOS takes other arguments. */
const canMakeTerminals = spawnSync("script", ["-qec", "true", "/dev/null"]).status === 0;

const CTRL_D = "\u0004";

async function tempFolder() {
  const path = await mkdtemp(join(tmpdir(), "hawser-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

test.skipIf(!canMakeTerminals)("two terminals talk, with names in colour", async () => {
  await using server = await serveRooms();
  const joining = ["join", "lobby", "--url", server.url, "--name"];
  await using ada = exampleOnTerminal("room", ...joining, "ada");
  await ada.prints(/here:.*ada(?:.|\s)*> /);
  await using bob = exampleOnTerminal("room", ...joining, "bob");
  await ada.prints(/bob\S* .*joined/);
  // He is in the room before he can type.
  await bob.prints(/here:.*bob(?:.|\s)*> /);
  bob.stdin.write("hel");
  await ada.prints(/bob is typing….*> /);
  ada.stdin.write("hi bob\r");
  // Above what bob has typed so far, which is shown again below.
  await bob.prints(/.\[\d\dmada.\[39m: hi bob\r?\n(?:.|\s)*> hel/);
  bob.stdin.write("lo ada\r");
  await ada.prints(/.\[\d\dmbob.\[39m: hello ada\r?\n(?:.|\s)*> /);
  bob.stdin.write(CTRL_D);
  expect(await bob.ended).toBe(0);
  await ada.prints(/bob\S* .*left/);
  ada.stdin.write(CTRL_D);
  expect(await ada.ended).toBe(0);
  expect(ada.stdout).not.toMatch(/ada\S*: hi bob/);
  expect(await server.said("lobby")).toEqual(["ada: hi bob", "bob: hello ada"]);
});

test.skipIf(!canMakeTerminals)(
  "a line that cannot be a message is reported, and not sent",
  async () => {
    await using server = await serveRooms();
    const joining = ["join", "lobby", "--url", server.url, "--name"];
    await using ada = exampleOnTerminal("room", ...joining, "ada");
    await ada.prints(/here/);
    ada.stdin.write(`${"x".repeat(3000)}`);
    ada.stdin.write(`${"y".repeat(3000)}\r`);
    await ada.prints(/room: not sent: a message has 4096 characters at most, this one has 6000/);
    ada.stdin.write(`good\r${CTRL_D}`);
    expect(await ada.ended).toBe(0);
    expect(await server.said("lobby")).toEqual(["ada: good"]);
  },
);

test.skipIf(!canMakeTerminals)("an import shows its progress", async () => {
  const shown = gate();
  await using server = await serveRooms({
    change: (rooms) => ({
      async import(requests, context) {
        await shown.opened;
        return rooms.import(requests, context);
      },
    }),
  });
  await using folder = await tempFolder();
  const file = join(folder.path, "text.txt");
  await writeFile(file, "hello\n".repeat(100_000));
  const importing = ["import", "lobby", file, "--url", server.url];
  await using program = exampleOnTerminal("room", ...importing);
  await program.prints(/█*░+ +\d+ % {2}[\d,]+ messages, [\d,]+ a second/);
  shown.open();
  expect(await program.ended).toBe(0);
  // The drawn prompt is erased from the line of the result.
  expect(program.stdout).toMatch(/\r.\[Kimported 100,000 messages in .*\r?\n$/);
});
