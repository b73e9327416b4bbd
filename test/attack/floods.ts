/** Floods over sockets: how many frames a server takes of each, and what they cost it. */
import { setTimeout } from "node:timers/promises";
import { median } from "../../bench/measure.ts";
import { type Flood, floods } from "../http2/support/floods.ts";
import { message, request } from "../support/request.ts";
import { data, Http2Code, settings } from "../support/wire.ts";
import { RawClient } from "./raw.ts";
import { startTarget, type Target } from "./target.ts";
import { verdict } from "./verdict.ts";

/** A handler that waits for its requests, and sends nothing before they end. */
const PATH = "/example.Greeter/Collect";

const MOST_FRAMES = 2000;
/** The CPU of the server for a connection with a flood, beyond that of a connection with a call. */
const MOST_CPU_MS = 100;
const CONNECTIONS = 10;
/** What time refills of the budget (src/http2/abuse.ts). */
const UNITS_PER_MS = 0.2;

/** A slow flood may cost no more than as many unary calls, and this part of noise: the median of rounds in turn. */
const SLOW = { connections: 20, partsPerSecond: 150, seconds: 1, rounds: 3, noise: 1.3 };

export async function tryFloods(only: string | undefined): Promise<void> {
  await using target = await startTarget();
  const chosen = floods.filter(({ name }) => only === undefined || name.includes(only));
  await quiet(target, 200);
  const quietMs = await quiet(target, CONNECTIONS);
  console.log(`a connection with a call: ${quietMs.toFixed(2)} ms of the server's CPU`);
  for (const flood of chosen) {
    const frames = await framesUntilGoaway(target, flood);
    const ms = (await cpuOf(target, () => repeated(() => blast(target, flood)))) / CONNECTIONS;
    const cost = `${(ms - quietMs).toFixed(1)} ms of CPU a connection`;
    const { received, refilled } = frames;
    const isEnded = received !== undefined && received <= MOST_FRAMES + refilled;
    const came = `GOAWAY after ${received} (time refilled ${refilled})`;
    verdict(isEnded && ms - quietMs <= MOST_CPU_MS, `${flood.name}: ${came}, ${cost}`);
    if (flood.isLarge) continue;
    const rounds = await slowRounds(target, flood);
    const parts = median(rounds.map(({ floodMs, unaryMs }) => floodMs / unaryMs));
    const compared = `${parts.toFixed(2)} of the CPU of as many unary calls (${rounds.map(({ floodMs, unaryMs }) => `${floodMs.toFixed(0)}/${unaryMs.toFixed(0)}`).join(", ")} ms)`;
    verdict(parts <= SLOW.noise, `${flood.name}, ${SLOW.partsPerSecond}/s: ${compared}`);
  }
  const after = await quiet(target, CONNECTIONS);
  verdict(
    after < 3 * quietMs + 2,
    `a call afterwards: ${after.toFixed(2)} ms; RSS ${target.rssMib()} MiB`,
  );
}

/** Calls that a slow flood is compared with. */
const unaryCalls: Flood = {
  name: "unary calls",
  part: (n) => [request(2 * n + 1, "SayHello"), data(2 * n + 1, message("you"), true)],
};

/** The server's CPU for a slow flood, and for as many unary calls, in turn. */
async function slowRounds(target: Target, flood: Flood) {
  const rounds: { readonly floodMs: number; readonly unaryMs: number }[] = [];
  for (let n = 0; n < SLOW.rounds; n++) {
    const unaryMs = await cpuOf(target, () => slowly(target, unaryCalls));
    rounds.push({ unaryMs, floodMs: await cpuOf(target, () => slowly(target, flood)) });
  }
  return rounds;
}

async function cpuOf(target: Target, run: () => Promise<unknown>): Promise<number> {
  const before = target.cpuMs();
  await run();
  // What the server still does for connections that are closed.
  await setTimeout(100);
  return target.cpuMs() - before;
}

async function repeated(run: () => Promise<unknown>): Promise<void> {
  for (let n = 0; n < CONNECTIONS; n++) await run();
}

/** The CPU for a connection with one unary call, in milliseconds. */
async function quiet(target: Target, connections: number): Promise<number> {
  const ms = await cpuOf(target, async () => {
    for (let n = 0; n < connections; n++) {
      await using client = await RawClient.connect(target.port);
      client.write(...unaryCalls.part(0, PATH));
      await client.until(() => client.ended === 1);
    }
  });
  return ms / connections;
}

/**
 * How many parts the server had received when it sent GOAWAY, and how many units of the budget time had refilled by then.
 * After each batch the client waits until the server has read it, and answered a SETTINGS.
 */
async function framesUntilGoaway(
  target: Target,
  flood: Flood,
): Promise<{ received: number | undefined; refilled: number }> {
  await using client = await RawClient.connect(target.port);
  client.write(...(flood.before?.(PATH) ?? []));
  await client.until(() => client.settingsAnswers === 1);
  const began = performance.now();
  const atOnce = 50;
  const refilled = () => Math.round((performance.now() - began) * UNITS_PER_MS);
  for (let n = 0; n < MOST_FRAMES + refilled(); n += atOnce) {
    for (let m = 0; m < atOnce; m++) client.write(...flood.part(n + m, PATH));
    const { settingsAnswers } = client;
    if (!flood.isBlock) client.write(settings());
    await client.until(() => client.settingsAnswers > settingsAnswers, flood.isBlock ? 50 : 10_000);
    if (client.goaway === undefined && !client.isClosed) continue;
    const isFlood = client.goaway === Http2Code.ENHANCE_YOUR_CALM;
    return { received: isFlood ? n + atOnce : undefined, refilled: refilled() };
  }
  return { received: undefined, refilled: refilled() };
}

/** Sends a flood as fast as the socket takes it, until the server closes the connection. */
async function blast(target: Target, flood: Flood): Promise<void> {
  await using client = await RawClient.connect(target.port);
  client.write(...(flood.before?.(PATH) ?? []));
  const atOnce = flood.isLarge ? 10 : 100;
  for (let n = 0; n < 1_000_000 && !client.isClosed; n += atOnce) {
    const parts: Buffer[] = [];
    for (let m = 0; m < atOnce; m++) parts.push(...flood.part(n + m, PATH));
    client.write(...parts);
    await client.flushed();
    await setTimeout(0);
  }
}

/** Sends a flood over several connections, at a speed that ends none of them. */
async function slowly(target: Target, flood: Flood): Promise<void> {
  const { connections, partsPerSecond, seconds } = SLOW;
  const one = async () => {
    await using client = await RawClient.connect(target.port);
    client.write(...(flood.before?.(PATH) ?? []));
    const began = performance.now();
    for (let n = 0; n < partsPerSecond * seconds && !client.isClosed; n++) {
      client.write(...flood.part(n, PATH));
      const dueMs = began + ((n + 1) * 1000) / partsPerSecond;
      const waitMs = dueMs - performance.now();
      if (waitMs > 1) await setTimeout(waitMs);
    }
  };
  await Promise.all(Array.from({ length: connections }, one));
}
