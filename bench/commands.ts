/**
 * The protocol between bench/child.ts and the programs that it starts: JSON lines on their stdin and stdout. Every
 * program under bench/ uses it, also bench/go.
 *
 *     stdin   {"gc":true} · {"job":{…}} · {"release":true}; the end of stdin ends the program
 *     stdout  ready · collected · start · end · idle · done · failed
 */
import { createInterface } from "node:readline";

export type Workload = "ping-pong" | "pipelined" | "push" | "unary" | "idle";

/** The job of a client. */
export interface Job {
  /** host:port */
  address: string;
  /** The file of the authority of the server's certificate. Without it the connection has no TLS. */
  ca?: string;
  workload: Workload;
  streams: number;
  /** Messages in flight on each stream, for pipelined. */
  window: number;
  /** Bytes of content. */
  size: number;
  /** The number of connections for the streams; more than one only for idle. */
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
  | { event: "ready"; address?: string }
  | { event: "start" | "end" | "idle" }
  /** The memory in use after the garbage collection, in the heap and outside of it. */
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

/** Calls `onEach` for each command except "gc", which it executes itself. Ends the program when stdin ends. */
export function onCommand<J = Job>(onEach: (command: Command<J>) => void): void {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const command: Command<J> = JSON.parse(line);
    if (command.gc) void collect();
    else onEach(command);
  });
  lines.on("close", () => process.exit(0));
}

/** Collects garbage twice, with a turn of the event loop between: the second run frees objects that the first one finalizes. */
async function collect(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  emit({ event: "collected", usedBytes: heapUsed + external });
}
