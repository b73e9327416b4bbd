import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { FROM_SOURCE } from "./child.ts";
import "./compile-cache.ts";

const MAIN = fileURLToPath(new URL("../../examples/main.ts", import.meta.url));

/** A run of the real `hawser` program, in a process of its own. */
export interface Program extends AsyncDisposable {
  readonly pid: number;
  readonly stdin: Writable;
  /** What it has written so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Resolves when its stdout matches; throws when it ends without. */
  prints(pattern: RegExp): Promise<RegExpMatchArray>;
  /** The same for its stderr. */
  complains(pattern: RegExp): Promise<RegExpMatchArray>;
  /** How it ended: exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
  /** Nobody reads its output any more. */
  closeStdout(): void;
}

/** Starts `hawser` with these arguments, as if no npm were around it. */
export function hawser(...args: string[]): Program {
  return start(process.execPath, [FROM_SOURCE, MAIN, ...args], {});
}

/** The same, started by `npm run <script>`. */
export function hawserByNpm(script: string, ...args: string[]): Program {
  return start(process.execPath, [FROM_SOURCE, MAIN, ...args], { npm_lifecycle_event: script });
}

/** The same, on a terminal of its own that script(1) makes: what it shows is its stdout. */
export function hawserOnTerminal(...args: string[]): Program {
  const words = [process.execPath, FROM_SOURCE, MAIN, ...args].map((word) => `'${word}'`);
  // Where CI is set, Node takes no terminal for one that has colours.
  return start("script", ["-qec", words.join(" "), "/dev/null"], { TERM: "xterm", CI: undefined });
}

/**
 * The same, with a disk (tmpfs) of so many bytes mounted at a folder, which the
 * program alone sees there; others find it under /proc/PID/root. For systems
 * where canMount() holds.
 */
export function hawserOnDisk(folder: string, bytes: number, ...args: string[]): Program {
  const mounted = [
    ...UNSHARE,
    "sh",
    "-c",
    MOUNT,
    `${bytes}`,
    folder,
    process.execPath,
    FROM_SOURCE,
    MAIN,
  ];
  return start("unshare", [...mounted, ...args], {});
}

/** Whether a process of ours can have a disk of its own. */
export function canMount(): boolean {
  return (
    spawnSync("unshare", [...UNSHARE, "sh", "-c", MOUNT, "65536", tmpdir(), "true"]).status === 0
  );
}

/** Mounts of its own; who is not root becomes it, in a namespace of users. */
const UNSHARE = process.getuid?.() === 0 ? ["-m"] : ["-rm"];
const MOUNT = 'mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@"';

function start(file: string, args: string[], extra: Record<string, string | undefined>): Program {
  const env = { ...process.env, ...extra };
  for (const name of Object.keys(env)) {
    if (name.startsWith("npm_") && !(name in extra)) delete env[name];
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

/** Starts `hawser serve` on a free port, with rooms in memory; resolves when it listens. */
export async function hawserServe(...args: string[]): Promise<{ url: string } & Program> {
  const port = args.includes("--unix") ? [] : ["--port", "0"];
  const log = args.includes("--log") || args.includes("--data") ? [] : ["--log", "memory"];
  const program = hawser("serve", ...port, ...log, ...args);
  const [, url] = await program.prints(/^listening on (\S+)\n(?:.*\n)*.*yourself\n/);
  return Object.assign(program, { url: url as string });
}
