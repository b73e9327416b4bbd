/**
 * Runs the jobs of a client: `streams` loops of one kind at the same time, which are measured after a warm-up. Each peer
 * implements these loops (Caller).
 */
import { readFileSync } from "node:fs";
import { emit, type Job, onCommand } from "../commands.ts";

/** The server of a job. */
export interface Target {
  /** host:port */
  readonly address: string;
  /** The authority that signed the server's certificate; `undefined` if the connection has no TLS. */
  readonly ca: Buffer | undefined;
}

/** Returns the URL of a server. */
export function urlOf({ address, ca }: Target): string {
  return `${ca === undefined ? "http" : "https"}://${address}`;
}

/** A client with one connection. Each method runs a loop until `gauge.running` is false. */
export interface Caller {
  /** Sends a message on one stream, waits for the reply, and repeats. */
  pingPong(content: string, gauge: Gauge): Promise<void>;
  /** Keeps `window` messages in flight on one stream. */
  pipelined(content: string, window: number, gauge: Gauge): Promise<void>;
  /** Receives the messages of one server stream as fast as they arrive; then cancels the call. */
  push(size: number, gauge: Gauge): Promise<void>;
  /** Makes unary calls, one after the other. */
  unary(content: string, gauge: Gauge): Promise<void>;
  /** Opens a stream, exchanges one message and leaves it open. */
  idle(content: string): Promise<void>;
  /** Ends the connection and the streams that are still open on it. */
  close(): unknown;
}

/** Counts replies, and stops the loops. */
export class Gauge {
  running = true;
  measuring = false;
  messages = 0;
  latenciesMs: number[] = [];

  reply(): void {
    this.messages++;
  }

  /** Counts a reply and its latency. Returns the current time, at which the next round trip begins. */
  roundTrip(since: number): number {
    const now = performance.now();
    this.messages++;
    if (this.measuring) this.latenciesMs.push(now - since);
    return now;
  }
}

/** The messages that a loop may still send before another loop receives replies. */
export class Window {
  #free: number;
  #waiting: (() => void) | undefined;

  constructor(free: number) {
    this.#free = free;
  }

  /** Takes one message of the window. Returns a promise if the window is full. */
  acquire(): Promise<void> | undefined {
    if (this.#free > 0) {
      this.#free--;
      return undefined;
    }
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  /** Returns one message to the window, or to the loop that waits for it. */
  release(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#free++;
    } else {
      this.#waiting = undefined;
      waiting();
    }
  }
}

/** The loops of a job, which have begun. */
export interface Loops {
  /** Each ends soon after `gauge.running` is false. */
  readonly loops: readonly Promise<void>[];
  close(): unknown;
}

/** Drives a client of which each stream of a job has a loop. */
export function drive(connect: (target: Target) => Caller): void {
  driveLoops((job, target, gauge) => {
    const caller = connect(target);
    const loops = Array.from({ length: job.streams }, () => start(job, caller, gauge));
    return { loops, close: () => caller.close() };
  }, connect);
}

/** Drives a client by the loops of a job; `connect` is needed for idle streams. */
export function driveLoops(
  begin: (job: Job, target: Target, gauge: Gauge) => Loops,
  connect?: (target: Target) => Caller,
): void {
  let release: (() => void) | undefined;
  onCommand(({ job, release: released }) => {
    if (released) release?.();
    if (job === undefined) return;
    const { address } = job;
    const ca = job.ca === undefined ? undefined : readFileSync(job.ca);
    const run = job.workload === "idle" ? idle(job, { address, ca }) : load(job, { address, ca });
    run.catch((error: unknown) => emit({ event: "failed", error: String(error) }));
  });
  emit({ event: "ready" });

  async function idle(job: Job, target: Target): Promise<void> {
    if (connect === undefined) throw new Error("this client has no idle streams");
    const content = "x".repeat(job.size);
    const callers: Caller[] = [];
    for (let c = 0; c < job.connections; c++) {
      const caller = connect(target);
      callers.push(caller);
      const streams = Array.from({ length: job.streams / job.connections });
      await Promise.all(streams.map(() => caller.idle(content)));
    }
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    emit({ event: "idle" });
    await released;
    for (const caller of callers) await caller.close();
    emit({ event: "done" });
  }

  async function load(job: Job, target: Target): Promise<void> {
    const gauge = new Gauge();
    const { loops, close } = begin(job, target, gauge);
    // A loop that fails ends the job immediately; a loop that hangs ends it after the time limit.
    const failure = Promise.race([
      ...loops.map((loop) => loop.then(() => new Promise<never>(() => {}))),
      after(job.warmMs + job.measureMs + 20_000).then(() => {
        throw new Error(`${job.workload}: the streams did not end`);
      }),
    ]);
    await Promise.race([after(job.warmMs), failure]);
    emit({ event: "start" });
    gauge.measuring = true;
    const before = gauge.messages;
    const started = performance.now();
    await Promise.race([after(job.measureMs), failure]);
    const messages = gauge.messages - before;
    const ms = performance.now() - started;
    gauge.measuring = false;
    emit({ event: "end" });
    gauge.running = false;
    await Promise.race([Promise.all(loops), failure]);
    await close();
    const sorted = Float64Array.from(gauge.latenciesMs).sort();
    const quantileUs = (q: number) => (sorted[Math.floor(sorted.length * q)] ?? 0) * 1000;
    emit({ event: "done", messages, ms, p50Us: quantileUs(0.5), p99Us: quantileUs(0.99) });
  }
}

function start(job: Job, caller: Caller, gauge: Gauge): Promise<void> {
  const content = "x".repeat(job.size);
  switch (job.workload) {
    case "ping-pong":
      return caller.pingPong(content, gauge);
    case "pipelined":
      return caller.pipelined(content, job.window, gauge);
    case "push":
      return caller.push(job.size, gauge);
    default:
      return caller.unary(content, gauge);
  }
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
