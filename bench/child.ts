/** Starts a process under test, or of the load, sends it the commands of commands.ts, and measures its CPU and memory. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { BenchEvent, Command, Job } from "./commands.ts";
import type { PushJob } from "./push/job.ts";
import type { LoadJob } from "./web/job.ts";

/** The command line of a program: a TypeScript file, which Node runs, or an executable. */
export type Program = readonly [file: string, ...args: string[]];

type Kind = BenchEvent["event"];
type EventOf<K extends Kind> = Extract<BenchEvent, { event: K }> & { event: K };

/** The results of the measured part of a job, with the CPU of the process under test in it. */
export interface Measured {
  messages: number;
  /** The number of messages that were posted, for jobs that post. */
  posts: number;
  ms: number;
  cpuMs: number;
  p50Us: number;
  p99Us: number;
}

/** The memory of a process, in bytes. */
export interface Memory {
  /** Objects in use, in the heap and outside of it; NaN if the program cannot say. */
  readonly used: number;
  /** Resident memory. */
  readonly rss: number;
}

/** A process whose CPU is measured. */
export interface UnderTest {
  /** User and system time of all threads so far. */
  cpuMs(): number;
}

export class Child implements AsyncDisposable, UnderTest {
  readonly name: string;
  /** host:port, of a server. */
  address = "";
  readonly #process: ChildProcess;
  readonly #events: BenchEvent[] = [];
  #onEvent: (() => void) | undefined;
  #exit: string | undefined;
  #stderr = "";

  private constructor(name: string, program: Program, nodeFlags: readonly string[]) {
    this.name = name;
    const [file, ...args] = program;
    const flags = ["--expose-gc", "--conditions=hawser-source", ...nodeFlags];
    this.#process = file.endsWith(".ts")
      ? spawn(process.execPath, [...flags, file, ...args])
      : spawn(file, args);
    this.#process.on("exit", (code, signal) => this.#exited(`exit ${signal ?? code}`));
    this.#process.on("error", (error) => this.#exited(error.message));
    this.#process.stdin?.on("error", () => {});
    // Some servers log each cancelled call. The end of stderr is shown if the process fails.
    this.#process.stderr?.on("data", (chunk) => {
      this.#stderr = `${this.#stderr}${chunk}`.slice(-2000);
    });
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      this.#events.push(JSON.parse(line));
      this.#onEvent?.();
    });
  }

  /** @param nodeFlags more options of Node, for a program in TypeScript */
  static async start(
    name: string,
    program: Program,
    nodeFlags: readonly string[] = [],
  ): Promise<Child> {
    const child = new Child(name, program, nodeFlags);
    const ready = await child.#next("ready");
    child.address = ready.address ?? "";
    return child;
  }

  /** Runs a job in this process, and measures the CPU of `underTest` during the job. */
  async measure(job: Job | PushJob | LoadJob, underTest: UnderTest): Promise<Measured> {
    this.#send({ job });
    await this.#next("start");
    const cpuBefore = underTest.cpuMs();
    await this.#next("end");
    const cpuMs = underTest.cpuMs() - cpuBefore;
    const done = await this.#next("done");
    const { messages = 0, posts = 0, ms = 0, p50Us = 0, p99Us = 0 } = done;
    return { messages, posts, ms, cpuMs, p50Us, p99Us };
  }

  /** Keeps idle streams open while `measure` runs. */
  async idle<T>(job: Job | PushJob, measure: () => Promise<T>): Promise<T> {
    this.#send({ job });
    await this.#next("idle");
    const measured = await measure();
    this.#send({ release: true });
    await this.#next("done");
    return measured;
  }

  /** Returns the memory after a garbage collection. */
  async memory(): Promise<Memory> {
    this.#send({ gc: true });
    const { usedBytes } = await this.#next("collected");
    return { used: usedBytes ?? Number.NaN, rss: rssBytesOf(this.#process.pid!) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#exit !== undefined) return;
    const exited = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin?.end();
    const late = setTimeout(() => this.#process.kill("SIGKILL"), 2000);
    await exited;
    clearTimeout(late);
  }

  cpuMs(): number {
    return cpuMsOf(this.#process.pid!);
  }

  #send(command: Command<Job | PushJob | LoadJob>): void {
    this.#process.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  async #next<K extends Kind>(kind: K): Promise<EventOf<K>> {
    for (;;) {
      const event = this.#events.shift();
      if (event === undefined) {
        if (this.#exit !== undefined)
          throw new Error(`${this.name}: ${this.#exit}\n${this.#stderr}`);
        await new Promise<void>((resolve) => {
          this.#onEvent = resolve;
        });
      } else if (event.event === kind) {
        return event as EventOf<K>;
      } else {
        const what = event.event === "failed" ? event.error : `${event.event} instead of ${kind}`;
        throw new Error(`${this.name}: ${what}\n${this.#stderr}`);
      }
    }
  }

  #exited(why: string): void {
    this.#exit = why;
    this.#onEvent?.();
  }
}

/** Returns the user and system time of all threads of a process, in milliseconds; /proc counts in ticks of 10 ms. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the program's name in brackets, and may contain blanks.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Returns the resident memory of a process, in bytes. */
export function rssBytesOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
