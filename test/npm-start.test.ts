/** `npm start`, with the installed npm. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { temporary } from "./support/temporary.ts";

// npm, a shell and a program start, which takes its time where others are at work.
vi.setConfig({ testTimeout: 60_000 });

const repository = fileURLToPath(new URL("..", import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await temporary();
});
afterEach(() => rm(folder, { recursive: true }));

/** Starts an npm script in its own process group. All of the group ends with the test, even if the test timed out. */
function npm(...args: string[]) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")),
  );
  const child = spawn("npm", args, { cwd: repository, env, detached: true });
  onTestFinished(() => {
    try {
      process.kill(-(child.pid as number), "SIGKILL");
    } catch {
      // No process of the group is left.
    }
  });
  return { child, stderr: text(child.stderr) };
}

/** Whether a server listens on the port. */
async function isOpen(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const outcome = await Promise.race([
    once(socket, "connect").then(
      () => true,
      () => false,
    ),
    once(socket, "error").then(() => false),
  ]);
  socket.destroy();
  return outcome;
}

test.skipIf(process.platform === "win32")(
  "SIGTERM to npm start ends the server too, which closes as it should",
  async () => {
    const start = npm("start", "--", "--port", "0", "--data", folder);
    const { child } = start;
    let printed = "";
    for await (const chunk of child.stdout
      .setEncoding("utf8")
      .iterator({ destroyOnReturn: false })) {
      printed += chunk;
      if (printed.includes("--cut-every")) break;
    }
    const url = /^listening on (\S+) /m.exec(printed)?.[1] as string;
    expect(await isOpen(url)).toBe(true);
    child.stdout.resume();
    // "close" comes when no process has its stdout and stderr open: an orphan would.
    const closed = once(child, "close");
    child.kill("SIGTERM");
    expect(await closed).toEqual([0, null]);
    expect(await start.stderr).toContain("server: closing\nserver: closed\n");
    expect(await isOpen(url)).toBe(false);
  },
);
