/**
 * npm run soak -- --seconds 60: 200 chats (over WebSockets, --web: 100) on ten transports, each behind a
 * link that cuts and stalls its connection all the time; chats end and begin
 * anew. Every message must arrive once and in order, both ways, and at the end
 * nothing may be left. Prints what it saw as JSON on its last line.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { setRuntime } from "../../src/flow/runtime.ts";
import { createClient, createTransport } from "../../src/index.ts";
import { openLink } from "../../src/testing/link.ts";
import { webRuntime } from "../../src/web/runtime.ts";
import { createTransport as createWebTransport } from "../../src/web.ts";
import { census } from "../support/census.ts";
import { settles } from "../support/gate.ts";
import { chatOn, Tally } from "./chats.ts";
import { Dice } from "./dice.ts";
import { sample } from "./memory.ts";
import type { SessionsReport } from "./sessions-server.ts";
import { type Damage, storm } from "./storm.ts";

const TRANSPORTS = 10;
const CHATS_EACH = { tcp: 20, web: 10 };
const MESSAGES_PER_SECOND = 1_000_000 / 60;
/** A slow machine gets more time for its messages, but not for ever. */
const MAX_OVERTIME = 3;
/** How long the server keeps a session, also one that has ended and whose end is not confirmed: the default, and less for a test. */
const GRACE_MS = { tcp: 30_000, web: 8_000 };

/** Sizes of the client's window for a chat: the default, small, very small. */
const WINDOWS = [
  undefined,
  { windowBytes: 64 * 1024, windowMessages: 256 },
  { windowBytes: 4096, windowMessages: 8 },
];

/** With it, a long delay has the client look for another connection while its last one still delivers. */
const IMPATIENT = { intervalMs: 200, timeoutMs: 400 };

export interface Soak {
  readonly seconds: number;
  /** Of all that is left to chance. */
  readonly seed: number;
  /** Whether the clients are those of hawser/web. */
  readonly isWeb: boolean;
}

/** Soaks for `seconds`; true where all was well. */
export async function soakSessions({ seconds, seed, isWeb }: Soak): Promise<boolean> {
  if (isWeb) setRuntime(webRuntime);
  const kind = isWeb ? "web" : "tcp";
  const tally = new Tally();
  const damage: Damage = { cuts: 0, stalls: 0, delays: 0, refusals: 0 };
  process.on("unhandledRejection", (error) => tally.failures.push(`unhandled: ${error}`));
  console.log(`seed ${seed}`);
  const server = await startServer(GRACE_MS[kind]);
  const calm = new AbortController();
  const sites = await Promise.all(
    Array.from({ length: TRANSPORTS }, async (_, at) => {
      const link = await openLink({ host: "127.0.0.1", port: server.port });
      const sessions = WINDOWS[at % 4];
      const keepalive = at % 2 === 0 ? IMPATIENT : undefined;
      const transport = (isWeb ? createWebTransport : createTransport)({
        baseUrl: link.url,
        ...(sessions && { sessions }),
        ...(keepalive && { keepalive }),
      });
      return {
        link,
        transport,
        stormy: storm(link, calm.signal, { dice: new Dice(seed, at), damage }),
      };
    }),
  );

  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  let stopped = false;
  const chats = sites.flatMap(({ transport }, site) => {
    const greeter = createClient(Greeter, transport);
    return Array.from({ length: CHATS_EACH[kind] }, (_, at) =>
      chatOn(greeter, { dice: new Dice(seed, site, at), tally }, () => stopped),
    );
  });
  const wanted = Math.ceil(seconds * MESSAGES_PER_SECOND);
  let peakKeptBytes = 0;
  while (!stopped) {
    await pause(1000);
    const { received, keptBytes } = await server.report();
    peakKeptBytes = Math.max(peakKeptBytes, keptBytes);
    const enough = elapsed() >= seconds && tally.received + received >= wanted;
    stopped = enough || elapsed() >= seconds * MAX_OVERTIME || tally.failures.length > 0;
    console.log(
      `${Math.round(elapsed())} s: ${received} requests, ${tally.received} replies, ` +
        `${tally.ended} chats, ${damage.cuts} cuts, ${tally.resumed} resumes`,
    );
  }
  // The chats come to their ends while the cuts continue.
  await Promise.all(chats);
  const chatted = Math.round(elapsed());
  calm.abort();
  await Promise.all(sites.map(({ stormy }) => stormy));
  await settles(() => census.clientStreams === 0, 5000);
  const { clientStreams } = census;
  await Promise.all(sites.map(({ transport }) => transport.close()));
  const { sessions: unconfirmed } = await server.report();
  const report = await server.idle();
  await server.close();
  await Promise.all(sites.map(({ link }) => link[Symbol.asyncDispose]()));

  const { handlers, sessions, streams, keptBytes, peakRssBytes } = report;
  const left = { handlers, sessions, keptBytes, streams, clientStreams };
  const messages = tally.received + report.received;
  const failures = [...tally.failures.slice(0, 20), ...report.failures];
  // A chat that was cancelled may never have reached the server.
  const most = tally.begun - tally.unbegun;
  if (report.begun > most || report.begun < most - tally.cancelled) {
    failures.push(`${report.begun} handlers for ${most} chats, ${tally.cancelled} cancelled`);
  }
  if (messages < wanted) failures.push(`${messages} messages, not ${wanted}`);
  if (damage.cuts === 0 || tally.resumed === 0) failures.push("nothing was cut, or resumed");
  for (const [what, count] of Object.entries(left)) {
    if (count > 0) failures.push(`${count} ${what} were left`);
  }
  const wrongs = {
    lost: tally.wrongs.lost + report.lost,
    repeated: tally.wrongs.repeated + report.repeated,
    outOfOrder: tally.wrongs.outOfOrder + report.outOfOrder,
    damaged: tally.wrongs.damaged + report.damaged,
  };
  const ok = failures.length === 0 && Object.values(wrongs).every((count) => count === 0);
  for (const failure of failures) console.log(failure);
  console.log(
    JSON.stringify({
      ok,
      seed,
      seconds: chatted,
      messages,
      requests: report.received,
      replies: tally.received,
      chats: tally.ended,
      unbegun: tally.unbegun,
      ...damage,
      resumes: tally.resumed,
      ...wrongs,
      peakRssBytes: { client: process.resourceUsage().maxRSS * 1024, server: peakRssBytes },
      heapAtRestBytes: { client: (await sample()).heapBytes, server: report.heapBytes },
      peakKeptBytes,
      unconfirmed,
      left,
      failures,
    }),
  );
  return ok;
}

/** The server, in a separate process. */
async function startServer(graceMs: number) {
  const program = fileURLToPath(new URL("./sessions-server.ts", import.meta.url));
  const child = spawn(process.execPath, [program, `${graceMs}`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error("the server process ended");
    return value as string;
  };
  const report = async (when: "now" | "at rest" = "now"): Promise<SessionsReport> => {
    child.stdin.write(`${when}\n`);
    return JSON.parse(await line());
  };
  return {
    port: Number(await line()),
    report,
    /** The server's report when it has no open calls or connections left, or after a timeout. */
    async idle(): Promise<SessionsReport> {
      const limit = performance.now() + graceMs + 5000;
      for (;;) {
        const counts = await report();
        const isIdle = counts.handlers + counts.sessions + counts.streams === 0;
        if (isIdle || performance.now() > limit) return await report("at rest");
        await pause(100);
      }
    },
    async close() {
      child.stdin.end();
      await exited;
    },
  };
}
