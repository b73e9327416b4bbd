import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A program of test/support/programs in a separate process. It is killed when it is disposed. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** Resolves with the next printed line; rejects, with the stderr, if the program ends instead. */
  line(): Promise<string>;
  kill(signal?: NodeJS.Signals): void;
  /** Resolves at the end of the program with its exit code or signal, and its stderr. */
  readonly exit: Promise<{ code: number | null; signal: string | null; stderr: string }>;
}

/** Small, so that the RSS shows what a process holds: the default space for young objects, up to 48 MiB, would be most of it. */
export const SMALL_YOUNG_SPACE = "--max-semi-space-size=4";

/** The programs import `hawser` as users do; here that is src/ (tsconfig.json, vitest.config.ts). */
export const FROM_SOURCE = "--conditions=hawser-source";

export function run(
  program: "greeter-server" | "careless-client" | "log-writer" | "room-server",
  ...args: string[]
): Child {
  const file = fileURLToPath(new URL(`./programs/${program}.ts`, import.meta.url));
  return start(program, [SMALL_YOUNG_SPACE, FROM_SOURCE, file, ...args]);
}

const ROOT = new URL("../../", import.meta.url).href;

/**
 * The same for a program whose text is in the test, to see what keeps a process alive: it has no other code. It has
 * Greeter, the entry of the client (createClient, createTransport, …) and that of the server (createServer).
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
