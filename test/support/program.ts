import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { FROM_SOURCE } from "./child.ts";
import "./compile-cache.ts";

/** The npm scripts, and the package's own program: the file that each starts, and the arguments that the script gives it. */
const PROGRAMS = {
  server: ["examples/server.ts"],
  chat: ["examples/greeter/client.ts", "chat"],
  greeter: ["examples/greeter/client.ts"],
  room: ["examples/rooms/client.ts"],
  hawser: ["cli/main.ts"],
} as const;

export type ProgramName = keyof typeof PROGRAMS;

/** The command that starts a program: Node, and the arguments before the user's. */
function commandOf(name: ProgramName): [node: string, ...args: string[]] {
  const [file, ...words] = PROGRAMS[name];
  const path = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  return [process.execPath, FROM_SOURCE, path, ...words];
}

/** A run of one of them, in a separate process. */
export interface Program extends AsyncDisposable {
  readonly pid: number;
  readonly stdin: Writable;
  /** The output so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Resolves when the program's stdout matches; rejects if it ends before. */
  prints(pattern: RegExp): Promise<RegExpMatchArray>;
  /** Resolves when the program's stderr matches. */
  complains(pattern: RegExp): Promise<RegExpMatchArray>;
  /** Resolves with the exit code, or with the name of the signal that ended the program. */
  readonly ended: Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
  /** Closes the reading end of its output. */
  closeStdout(): void;
}

/** Starts a program of examples/ with these words. */
export function example(name: ProgramName, ...words: string[]): Program {
  const [node, ...args] = commandOf(name);
  return start(node, [...args, ...words], {});
}

/** Runs a program on a terminal that script(1) makes; its stdout is what the terminal shows. */
export function exampleOnTerminal(name: ProgramName, ...words: string[]): Program {
  const command = [...commandOf(name), ...words].map((word) => `'${word}'`).join(" ");
  // Where CI is set, Node takes no terminal for one that has colours.
  return start("script", ["-qec", command, "/dev/null"], { TERM: "xterm", CI: undefined });
}

/**
 * The example server with a disk (tmpfs) of `bytes` mounted at a folder, which the
 * program only sees there; others find it under /proc/PID/root. For systems
 * where canMount() holds.
 */
export function exampleServerOnDisk(folder: string, bytes: number, ...words: string[]): Program {
  const mounted = [...UNSHARE, "sh", "-c", MOUNT, `${bytes}`, folder];
  return start("unshare", [...mounted, ...commandOf("server"), ...words], {});
}

/** Whether a process of ours can mount a disk. */
export function canMount(): boolean {
  return (
    spawnSync("unshare", [...UNSHARE, "sh", "-c", MOUNT, "65536", tmpdir(), "true"]).status === 0
  );
}

/** Gives the program a mount namespace; a user other than root becomes root in a user namespace. */
const UNSHARE = process.getuid?.() === 0 ? ["-m"] : ["-rm"];
const MOUNT = 'mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@"';

function start(file: string, args: string[], extra: Record<string, string | undefined>): Program {
  const env = { ...process.env, ...extra };
  for (const name of Object.keys(env)) {
    // A test must see the same colours whatever terminal runs it.
    if (name.startsWith("npm_") || /^(NO|FORCE)_COLOR$/.test(name)) delete env[name];
  }
  const child = spawn(file, args, { env });
  child.stdin.on("error", () => {});
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | string);
  const stdout = new Text(child.stdout, ended);
  const stderr = new Text(child.stderr, ended);
  return {
    pid: child.pid as number,
    stdin: child.stdin,
    get stdout() {
      return stdout.text;
    },
    get stderr() {
      return stderr.text;
    },
    prints: (pattern) => stdout.matches(pattern),
    complains: (pattern) => stderr.matches(pattern),
    ended,
    kill: (signal) => child.kill(signal),
    closeStdout: () => child.stdout.destroy(),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** The text that a stream brings, to be waited for. */
class Text {
  text = "";
  #ended = false;
  #changed = Promise.withResolvers<void>();

  constructor(stream: NodeJS.ReadableStream, ended: Promise<unknown>) {
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      this.text += chunk;
      this.#change();
    });
    void ended.then(() => {
      this.#ended = true;
      this.#change();
    });
  }

  async matches(pattern: RegExp): Promise<RegExpMatchArray> {
    for (;;) {
      const match = this.text.match(pattern);
      if (match !== null) return match;
      if (this.#ended) throw new Error(`it ended without ${pattern}, but with ${this.text}`);
      await this.#changed.promise;
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** Starts the example server on a free port, with rooms in memory; resolves when it listens. */
export async function startExampleServer(...words: string[]): Promise<{ url: string } & Program> {
  const port = words.includes("--unix") ? [] : ["--port", "0"];
  const log = words.includes("--log") || words.includes("--data") ? [] : ["--log", "memory"];
  const program = example("server", ...port, ...log, ...words);
  const [, url] = await program.prints(/^listening on (\S+) \(.*\)\n(?:.*\n)*.*--cut-every.*\n/);
  return Object.assign(program, { url: url as string });
}
