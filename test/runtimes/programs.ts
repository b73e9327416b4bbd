/** The programs of a run, each in a process of its own. They end when their standard input ends, so none outlives this process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Runtime } from "./runtimes.ts";

/** How long a program may take to end after the end of its standard input. */
const END_MS = 3_000;

export interface Program extends AsyncDisposable {
  /** The next JSON line that it prints; `undefined` at the end of its output. */
  line(): Promise<unknown>;
  say(line: string): void;
  /** Ends its standard input. Resolves when it has ended by itself; rejects, and kills it, if it does not. */
  end(): Promise<void>;
  kill(): Promise<void>;
}

const running = new Set<ChildProcess>();

/** Kills all programs that run. */
export function killPrograms(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** Starts a file on a runtime. */
export function start(
  { name, command }: Runtime,
  project: string,
  args: readonly [file: string, ...args: string[]],
): Program {
  const [program, ...before] = command;
  const [file, ...after] = args;
  const child = spawn(program, [...before, `test/runtimes/programs/${file}.ts`, ...after], {
    cwd: project,
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, NO_COLOR: "1" },
  });
  running.add(child);
  child.stdin.on("error", () => {});
  const closed = once(child, "close").then(([code, signal]) => {
    running.delete(child);
    return (code ?? signal) as number | string;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const kill = async () => {
    child.kill("SIGKILL");
    await closed;
  };
  return {
    async line() {
      const { done, value } = await lines.next();
      return done === true ? undefined : JSON.parse(value);
    },
    say: (line) => void child.stdin.write(`${line}\n`),
    async end() {
      child.stdin.end();
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<string>((resolve) => {
        timer = setTimeout(() => resolve(`still runs after ${END_MS} ms`), END_MS);
      });
      const ended = await Promise.race([closed, late]);
      clearTimeout(timer);
      await kill();
      if (ended !== 0) throw new Error(`${file} on ${name}: ${ended}`);
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
