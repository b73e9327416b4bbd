/**
 * npm run soak, without anything: 200,000 unary and 20,000 bidirectional calls on one connection, half of them
 * cancelled or failed on purpose. Every call must end as it should, the heap and the resident
 * memory of both processes must stay flat after the warm-up, and no stream and no handler may
 * remain. Prints what it saw as JSON on its last line; exit 1 where something is amiss.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../../src/index.ts";
import { census } from "../support/census.ts";
import { bidirectional, type Call, unary } from "./calls.ts";
import { growth, type Sample, sample } from "./memory.ts";
import type { ServerReport } from "./server.ts";

const steps = 20;
const warmUpSteps = 8;
const unaryPerStep = 10_000;
const bidirectionalPerStep = 1000;
const unaryAtOnce = 64;
const bidirectionalAtOnce = 16;

const MiB = 1024 * 1024;
/** Between the medians lie about 90,000 calls: a leak of 25 B a call shows. */
const maxHeapGrowthBytes = 2 * MiB;
/** Resident memory also moves with the allocator's mood. */
const maxRssGrowthBytes = 24 * MiB;

const child = spawn(process.execPath, [fileURLToPath(new URL("./server.ts", import.meta.url))], {
  stdio: ["pipe", "pipe", "inherit"],
});
const exited = once(child, "exit");
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const url = await line();
const transport = createTransport({ baseUrl: url });
const greeter = createClient(Greeter, transport);

const client: Sample[] = [];
const server: ServerReport[] = [];
const failures: string[] = [];
const started = performance.now();
for (let step = 1; step <= steps; step++) {
  await Promise.all([
    run(unary, unaryPerStep, unaryAtOnce),
    run(bidirectional, bidirectionalPerStep, bidirectionalAtOnce),
  ]);
  client.push(await sample());
  child.stdin.write("report\n");
  server.push(JSON.parse(await line()));
  const [ours, theirs] = [client.at(-1)!, server.at(-1)!];
  console.log(
    `step ${step} of ${steps}: client ${show(ours)}; server ${show(theirs)}, ${theirs.handlers} handlers`,
  );
  if (ours.streams > 0) failures.push(`step ${step}: ${ours.streams} streams open on the client`);
  if (theirs.streams > 0) {
    failures.push(`step ${step}: ${theirs.streams} streams open on the server`);
  }
  if (theirs.handlers > 0) failures.push(`step ${step}: ${theirs.handlers} handlers did not end`);
  const thrown = unaryPerStep / unary.length;
  if (theirs.logged !== thrown) {
    failures.push(`step ${step}: ${theirs.logged} errors logged, ${thrown} thrown`);
  }
  if (failures.length > 0) break;
}
const seconds = (performance.now() - started) / 1000;
const { connections } = census;
if (connections > 1) failures.push(`${connections} connections were opened, one is enough`);
await transport.close();
child.stdin.end();
await exited;

const grown = { client: grownBy(client), server: grownBy(server) };
for (const side of ["client", "server"] as const) {
  const { heapBytes, rssBytes } = grown[side];
  if (heapBytes > maxHeapGrowthBytes) failures.push(`the ${side}'s heap grew by ${heapBytes} B`);
  if (rssBytes > maxRssGrowthBytes) failures.push(`the ${side}'s RSS grew by ${rssBytes} B`);
}
for (const failure of failures) console.log(failure);
console.log(
  JSON.stringify({
    ok: failures.length === 0,
    unaryCalls: steps * unaryPerStep,
    bidirectionalCalls: steps * bidirectionalPerStep,
    seconds: Math.round(seconds),
    openStreams: { client: client.at(-1)?.streams, server: server.at(-1)?.streams },
    grown,
    failures,
  }),
);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Makes `count` calls, `atOnce` at a time; the first whose end was not the expected one ends the soak. */
async function run(calls: readonly Call[], count: number, atOnce: number): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count && failures.length === 0) {
      const call = calls[next++ % calls.length]!;
      try {
        await call(greeter);
      } catch (error) {
        failures.push(`a call went wrong: ${error instanceof Error ? error.message : error}`);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

function grownBy(samples: readonly Sample[]) {
  const steady = samples.slice(warmUpSteps);
  return {
    heapBytes: growth(steady.map(({ heapBytes }) => heapBytes)),
    rssBytes: growth(steady.map(({ rssBytes }) => rssBytes)),
  };
}

function show({ heapBytes, rssBytes, streams }: Sample): string {
  const inMiB = (bytes: number) => (bytes / MiB).toFixed(1);
  return `heap ${inMiB(heapBytes)} MiB, RSS ${inMiB(rssBytes)} MiB, ${streams} streams`;
}

async function line(): Promise<string> {
  const { value, done } = await lines.next();
  if (done === true) throw new Error("the server process ended");
  return value;
}
