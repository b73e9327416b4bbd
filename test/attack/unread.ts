/** Echo calls whose clients read nothing of the echo: what they make the server hold. */
import { setTimeout } from "node:timers/promises";
import { SMALL_YOUNG_SPACE } from "../support/child.ts";
import { message, request } from "../support/request.ts";
import { data, Flag, frame, PREFACE, settings, Type } from "../support/wire.ts";
import { sendEchoes } from "./endless.ts";
import { RawClient } from "./raw.ts";
import { startTarget, type Target } from "./target.ts";
import { verdict } from "./verdict.ts";

const MIB = 2 ** 20;

const STREAMS = 1000;

/** What a connection may hold when it has settled: the default of connectionBudgetBytes. */
const BUDGET_MIB = 8;

/** What an open stream may cost beside the messages that it holds. */
const STREAM_BYTES = 4096;

/** After the last byte that the server takes. */
const SETTLES_WITHIN_MS = 15_000;

interface Unread {
  readonly connections: number;
  /** How much heap and external memory the server may use for them at any time, garbage aside. */
  readonly mostMib: number;
  /** The window that the client gives to each stream, and never again. */
  readonly windowBytes: number;
  readonly messageBytes: number;
}

const tries: readonly Unread[] = [
  { connections: 1, mostMib: 64, windowBytes: 65_535, messageBytes: 1000 },
  { connections: 1, mostMib: 64, windowBytes: 0, messageBytes: 20 },
  { connections: 8, mostMib: 256, windowBytes: 65_535, messageBytes: 1000 },
  { connections: 8, mostMib: 256, windowBytes: 0, messageBytes: 100 },
];

export async function tryUnread(): Promise<void> {
  for (const one of tries) await tryOne(one);
}

async function tryOne({ connections, mostMib, windowBytes, messageBytes }: Unread): Promise<void> {
  await using target = await startTarget({ node: [SMALL_YOUNG_SPACE], greeter: "echo" });
  const greeting = [PREFACE, settings({ 4: windowBytes }), frame(Type.SETTINGS, Flag.ACK, 0)];
  const content = message("x".repeat(messageBytes));
  await warmUp(target, greeting);
  const before = await target.report();
  await using clients = new AsyncDisposableStack();
  const all: RawClient[] = [];
  for (let n = 0; n < connections; n++) {
    const client = clients.use(await RawClient.connect(target.port, greeting));
    all.push(client);
    sendEchoes(client, content, STREAMS);
  }
  let most = before.usedBytes;
  const look = async () => {
    const report = await target.report();
    most = Math.max(most, report.usedBytes);
    return report;
  };
  await untilNothingIsSent(all, look);
  await setTimeout(SETTLES_WITHIN_MS);
  const { calls, usedBytes, externalBytes } = await look();
  const peakMib = (most - before.usedBytes) / MIB;
  const heldMib = (usedBytes - before.usedBytes - calls * STREAM_BYTES) / MIB;
  const externalMib = (externalBytes - before.externalBytes) / MIB;
  const sentMib = all.reduce((sum, { sentBytes }) => sum + sentBytes, 0) / MIB;
  const isServed = await serves(target);
  const what = `${connections} × ${STREAMS} unread echo streams, messages of ${messageBytes} B, windows of ${windowBytes} B`;
  const came = `${sentMib.toFixed(0)} MiB came, the server used ${peakMib.toFixed(1)} MiB more at most (RSS ${target.peakRssMib()} MiB); ${SETTLES_WITHIN_MS / 1000} s later ${calls} calls hold ${heldMib.toFixed(1)} MiB (external ${externalMib.toFixed(1)} MiB)`;
  const isWell = peakMib <= mostMib && heldMib <= connections * BUDGET_MIB && isServed;
  verdict(isWell, `${what}: ${came}`);
}

/** Has the server compile its code, and allocate what it keeps. */
async function warmUp(target: Target, greeting: Buffer[]): Promise<void> {
  await serves(target);
  const client = await RawClient.connect(target.port, greeting);
  sendEchoes(client, message("x".repeat(20)), STREAMS);
  await untilNothingIsSent([client], async () => {});
  await client[Symbol.asyncDispose]();
  // Until the timers of the connection, of a second, have ended: what they keep would else be counted as the server's own.
  await setTimeout(3000);
}

/** Resolves when nothing was sent for a second. Calls `look` every second. */
async function untilNothingIsSent(
  clients: readonly RawClient[],
  look: () => Promise<unknown>,
): Promise<void> {
  const sent = () => clients.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
  for (let last = -1; last !== sent(); ) {
    last = sent();
    await setTimeout(1000);
    await look();
  }
}

/** Whether the server serves a call on a new connection. */
async function serves({ port }: Target): Promise<boolean> {
  await using client = await RawClient.connect(port);
  client.write(request(1, "SayHello"), data(1, message("you"), true));
  return await client.until(() => client.ended === 1, 5000);
}
