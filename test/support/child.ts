import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A program of test/support/programs in a process of its own. It is killed when it is disposed. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** The next line that it prints; throws, with what it said on stderr, when it ends instead. */
  line(): Promise<string>;
  kill(signal?: NodeJS.Signals): void;
  /** How it ended: the code it exited with, or the signal, and what it said on stderr. */
  readonly exit: Promise<{ code: number | null; signal: string | null; stderr: string }>;
}

/** What a process holds is to be seen in its RSS: by default room for young objects, up to 48 MiB, would be most of it. */
const YOUNG = "--max-semi-space-size=4";

/** The programs import `hawser` as users do; here that is src/ (tsconfig.json, vitest.config.ts). */
export const FROM_SOURCE = "--conditions=hawser-source";

export function run(
  program: "greeter-server" | "careless-client" | "log-writer" | "room-server",
  ...args: string[]
): Child {
  const file = fileURLToPath(new URL(`./programs/${program}.ts`, import.meta.url));
  return start(program, [YOUNG, FROM_SOURCE, file, ...args]);
}

const ROOT = new URL("../../", import.meta.url).href;

/**
 * The same for a program that stands in the test itself, to see what keeps a process alive: nothing else is in it. It
 * has Greeter, the client's half (createClient, createTransport, …) and the server's (createServer).
 */
export function runText(program: string): Child {
  const imports = `
    import { Greeter } from "${ROOT}gen/example/greeter_pb.js";
    import { RoomService } from "${ROOT}gen/chat/v1/room_pb.js";
    import { Code, createClient, createTransport } from "${ROOT}src/index.ts";
    import { createServer } from "${ROOT}src/server.ts";
  `;
  return start("the program", ["--input-type=module", "--eval", imports + program]);
}

function start(name: string, args: string[]): Child {
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const exit = once(child, "close").then(([code, signal]) => ({ code, signal, stderr }));
  return {
    pid: child.pid ?? 0,
    exit,
    async line() {
      const { done, value } = await lines.next();
      if (done) throw new Error(`${name} ended: ${JSON.stringify(await exit)}`);
      return value;
    },
    kill: (signal = "SIGKILL") => void child.kill(signal),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}
