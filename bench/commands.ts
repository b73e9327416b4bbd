/**
 * The inner end of what bench/child.ts drives: JSON lines on stdin and stdout. Every
 * program under bench/ speaks this, bench/go included.
 *
 *     stdin   {"gc":true} · {"job":{…}} · {"release":true}; the end of stdin ends the program
 *     stdout  ready · collected · start · end · idle · done · failed
 */
import { createInterface } from "node:readline";

export type Workload = "ping-pong" | "pipelined" | "push" | "unary" | "idle";

/** What a client is asked to do. */
export interface Job {
  /** host:port */
  address: string;
  workload: Workload;
  streams: number;
  /** Messages in flight on each stream, for pipelined. */
  window: number;
  /** Bytes of content. */
  size: number;
  /** Over how many connections the streams go; more than one for idle alone. */
  connections: number;
  warmMs: number;
  measureMs: number;
}

export interface Command<J = Job> {
  gc?: boolean;
  job?: J;
  release?: boolean;
}

export type BenchEvent =
  | { event: "ready"; address?: string; version?: string }
  | { event: "start" | "end" | "idle" }
  /** What is in use after it: of the heap, and outside of it. */
  | { event: "collected"; usedBytes?: number }
  | { event: "failed"; error: string }
  | {
      event: "done";
      messages?: number;
      posts?: number;
      ms?: number;
      p50Us?: number;
      p99Us?: number;
    };

export function emit(event: BenchEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/** Calls back for each command, ends the program with stdin, and answers "gc" itself. */
export function onCommand<J = Job>(take: (command: Command<J>) => void): void {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const command: Command<J> = JSON.parse(line);
    if (command.gc) void collect();
    else take(command);
  });
  lines.on("close", () => process.exit(0));
}

/** Twice with a turn of the loop between: what the first one finalizes, the second one frees. */
async function collect(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  emit({ event: "collected", usedBytes: heapUsed + external });
}
