// Makes unary calls to the server at argv[2] in a separate process: four callers one call after the other, and beside
// them 100 calls a second, whether the previous one has been answered or not. For each line on its stdin it prints one: how long
// the calls took since the previous line, as JSON.
import { createInterface } from "node:readline";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../../src/index.ts";

const CALLERS = 4;
const PAUSE_MS = 2;
const PER_SECOND = 100;

/** How long calls took, in milliseconds, and their count. */
export interface Latencies {
  readonly calls: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface Probes {
  readonly failed: number;
  /** Latencies of the callers that wait for each answer. */
  readonly inTurn: Latencies;
  /** Latencies of the calls at a fixed rate: one stop of the server delays all calls that arrive meanwhile. */
  readonly atPace: Latencies;
}

const [, , baseUrl = ""] = process.argv;
const transport = createTransport({ baseUrl });
const greeter = createClient(Greeter, transport);
const took = { inTurn: [] as number[], atPace: [] as number[] };
let failed = 0;
let isStopped = false;

/** Makes a call that was due at `dueMs`. */
async function probe(into: keyof typeof took, dueMs: number): Promise<void> {
  try {
    await greeter.sayHello({ content: "are you there?" });
  } catch {
    failed++;
  }
  took[into].push(performance.now() - dueMs);
}

function latencies(kind: keyof typeof took): Latencies {
  const sorted = took[kind].sort((a, b) => a - b);
  took[kind] = [];
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
  return { calls: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

const callers = Array.from({ length: CALLERS }, async () => {
  while (!isStopped) {
    await probe("inTurn", performance.now());
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
});
const began = performance.now();
const dueMs = (call: number) => began + (call * 1000) / PER_SECOND;
let calls = 0;
const timer = setInterval(() => {
  for (; dueMs(calls) <= performance.now(); calls++) void probe("atPace", dueMs(calls));
}, 1);

console.log("ready");
for await (const _ of createInterface({ input: process.stdin })) {
  const probes: Probes = { failed, inTurn: latencies("inTurn"), atPace: latencies("atPace") };
  console.log(JSON.stringify(probes));
}
isStopped = true;
clearInterval(timer);
await Promise.all(callers);
await transport.close();
