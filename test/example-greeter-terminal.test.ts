import { spawnSync } from "node:child_process";
import { expect, test, vi } from "vitest";
import { exampleOnTerminal, startExampleServer } from "./support/program.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

/** util-linux's script(1) makes a terminal; the one of BSD and macOS takes other arguments. */
const canMakeTerminals = spawnSync("script", ["-qec", "true", "/dev/null"]).status === 0;

const CTRL_C = "\u0003";
const CTRL_D = "\u0004";

test.skipIf(!canMakeTerminals)(
  "on a terminal chat takes one line per message, and Ctrl-D ends it",
  async () => {
    await using server = await startExampleServer();
    await using chat = exampleOnTerminal("chat", "--url", server.url);
    await chat.prints(/Ctrl-D ends the conversation, Ctrl-C cancels it\.\r?\n(?:.|\s)*> /);
    chat.stdin.write("hello there\r");
    await chat.prints(/Server says: Received: hello there\r?\n(?:.|\s)*> /);
    chat.stdin.write("again\r");
    await chat.prints(/Server says: Received: again\r?\n(?:.|\s)*> /);
    chat.stdin.write(CTRL_D);
    expect(await chat.ended).toBe(0);
  },
);

test.skipIf(!canMakeTerminals)("Ctrl-C on a terminal cancels a chat, exit code 130", async () => {
  await using server = await startExampleServer();
  await using chat = exampleOnTerminal("chat", "--url", server.url);
  await chat.prints(/> /);
  chat.stdin.write("hello\r");
  await chat.prints(/Server says: Received: hello\r?\n(?:.|\s)*> /);
  chat.stdin.write(CTRL_C);
  expect(await chat.ended).toBe(130);
  expect(chat.stdout).not.toContain("chat:");
});

test.skipIf(!canMakeTerminals)("a reply appears above what is being typed", async () => {
  await using server = await startExampleServer();
  await using chat = exampleOnTerminal("chat", "--url", server.url);
  await chat.prints(/> /);
  chat.stdin.write("one\rtwo");
  await chat.prints(/Server says: Received: one\r?\n(?:.|\s)*> two/);
  chat.stdin.write(`\r`);
  await chat.prints(/Server says: Received: two\r?\n/);
  chat.stdin.write(CTRL_D);
  expect(await chat.ended).toBe(0);
});
