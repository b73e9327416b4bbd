/**
 * npm run soak -- --crowd: 10,000 sessions on ten connections are cut at the same time, three times. All must resume, each
 * with one handler; the server must do with a small heap; unrelated unary calls must stay about as fast as before, by the
 * median of the three times. Server, clients and unary callers are processes of their own. Prints what it saw as JSON on
 * its last line; exit 1 where something is amiss.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  Greeter,
  type MessageRequestSchema,
  type MessageResponse,
} from "../../gen/example/greeter_pb.js";
import { createClient, createTransport, type Duplex } from "../../src/index.ts";
import { openLink } from "../../src/testing/link.ts";
import { next } from "../support/read.ts";
import type { Probes } from "./crowd-prober.ts";
import type { CrowdReport } from "./crowd-server.ts";

const SESSIONS = 10_000;
const CUTS = 3;
/** Unary calls are timed for this time before a cut, and for this time after it. */
const WINDOW_MS = 12_000;
/** The most bytes that an idle session may cost its server. */
const MOST_BYTES_EACH = 20 * 1024;
/** The server's heap limit, in MB: Node ends the process above it. */
const HEAP_MB = 192;
const MOST_SLOWER = 2;
/** Latencies below this are accepted, even if they were lower before. */
const FAST_MS = 5;

interface Helper<Answer> extends AsyncDisposable {
  readonly first: string;
  ask(): Promise<Answer>;
}

async function start<Answer>(program: string, ...args: string[]): Promise<Helper<Answer>> {
  const file = fileURLToPath(new URL(`./${program}.ts`, import.meta.url));
  const command = [`--max-old-space-size=${HEAP_MB}`, file, ...args];
  const child = spawn(process.execPath, command, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done) throw new Error(`${program} has ended`);
    return value;
  };
  return {
    first: await line(),
    async ask() {
      child.stdin.write("\n");
      return JSON.parse(await line());
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
    },
  };
}

/** How unary calls do in the time that `meanwhile` takes, a window at least. */
async function probes(prober: Helper<Probes>, meanwhile: () => Promise<unknown>): Promise<Probes> {
  await prober.ask();
  await Promise.all([pause(WINDOW_MS), meanwhile()]);
  return await prober.ask();
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

const failures: string[] = [];
await using server = await start<CrowdReport>("crowd-server");
const port = Number(server.first);
await using prober = await start<Probes>("crowd-prober", `http://127.0.0.1:${port}`);
await using link = await openLink({ host: "127.0.0.1", port });
await using transport = createTransport({ baseUrl: link.url });
const greeter = createClient(Greeter, transport);
const empty = await server.ask();

const chats: Duplex<MessageInitShape<typeof MessageRequestSchema>, MessageResponse>[] = [];
/** Each chat sends `content`, and gets it back. */
async function exchange(content: string, among = chats): Promise<void> {
  const replies = among.map(async (chat) => {
    await chat.send({ content });
    const reply = (await next(chat))?.reply;
    if (reply !== content) failures.push(`a chat sent ${content} and got ${reply}`);
  });
  for (const outcome of await Promise.allSettled(replies)) {
    if (outcome.status === "rejected") failures.push(String(outcome.reason.message));
  }
}
while (chats.length < SESSIONS) {
  const some = Array.from({ length: 500 }, () => greeter.chat());
  await exchange("hello", some);
  chats.push(...some);
}
const full = await server.ask();
console.log(`${SESSIONS} sessions on ${link.open} connections`);

const before: Probes[] = [];
const during: Probes[] = [];
const resumedMs: number[] = [];
for (let cut = 1; cut <= CUTS; cut++) {
  // The work that follows the final messages, such as acknowledgements, is done.
  await pause(1000);
  before.push(await probes(prober, async () => {}));
  const seen = await probes(prober, async () => {
    const back = Promise.all(
      chats.map((chat) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        const watch = chat.onState((state) => {
          if (state !== "resuming") resolve();
        });
        return promise.finally(() => watch[Symbol.dispose]());
      }),
    );
    const began = performance.now();
    link.cut();
    await back;
    resumedMs.push(Math.round(performance.now() - began));
  });
  during.push(seen);
  await exchange(`after cut ${cut}`);
  const slow = `${seen.inTurn.p99.toFixed(1)} ms, before ${before.at(-1)?.inTurn.p99.toFixed(1)} ms`;
  console.log(`cut ${cut}: all are back after ${resumedMs.at(-1)} ms; p99 of unary calls ${slow}`);
}
const after = await server.ask();

const p99 = (all: Probes[], kind: "inTurn" | "atPace") => median(all.map((one) => one[kind].p99));
const result = {
  sessions: SESSIONS,
  resumedMs,
  handlers: after.runs,
  bytesEach: Math.round((full.bytes - empty.bytes) / SESSIONS),
  bytesEachAfter: Math.round((after.bytes - empty.bytes) / SESSIONS),
  peakBytes: after.peakBytes,
  p99Ms: { before: p99(before, "inTurn"), during: p99(during, "inTurn") },
  p99MsAtPace: { before: p99(before, "atPace"), during: p99(during, "atPace") },
  unaryFailed: during.at(-1)?.failed ?? 0,
};
if (result.handlers !== SESSIONS) failures.push(`${result.handlers} handlers ran`);
if (Math.max(result.bytesEach, result.bytesEachAfter) > MOST_BYTES_EACH) {
  failures.push(`a session costs the server over ${MOST_BYTES_EACH} B`);
}
if (result.unaryFailed > 0) failures.push(`${result.unaryFailed} unary calls failed`);
if (result.p99Ms.during > Math.max(MOST_SLOWER * result.p99Ms.before, FAST_MS)) {
  failures.push(`unary calls are more than ${MOST_SLOWER} times as slow while sessions resume`);
}
for (const failure of new Set(failures)) console.log(`amiss: ${failure}`);
console.log(JSON.stringify(result));
process.exit(failures.length === 0 ? 0 : 1);
