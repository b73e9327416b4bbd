/** Echo calls whose clients read nothing of the echo: what they make the server hold. */
import { setTimeout } from "node:timers/promises";
import { SMALL_YOUNG_SPACE } from "../support/child.ts";
import { message, request } from "../support/request.ts";
import { data, Flag, frame, PREFACE, settings, Type } from "../support/wire.ts";
import { RawClient } from "./raw.ts";
import { startTarget, type Target } from "./target.ts";
import { verdict } from "./verdict.ts";

const MIB = 2 ** 20;

const STREAMS = 1000;

/** What a connection may hold when it has settled: the default of connectionBudgetBytes. */
const BUDGET_MIB = 8;

/** What an open stream may cost beside the messages that it holds. */
const STREAM_BYTES = 4096;

/** The window that streams and connections begin with (RFC 9113, 6.9.2), and the largest frame (6.5.2). */
const FIRST_WINDOW_BYTES = 65_535;
const MOST_FRAME_BYTES = 16_384;

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
    sendAll(client, content);
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
  sendAll(client, message("x".repeat(20)));
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

/** Opens the streams, and sends the message again and again on each, as fast as the server takes it, while it is open. */
function sendAll(client: RawClient, content: Buffer): void {
  const windows = new Map<number, number>();
  let connectionWindow = FIRST_WINDOW_BYTES;
  /** The bytes of `content` that were sent, if it was not sent whole. */
  const sent = new Map<number, number>();
  const send = (stream: number) => {
    const parts: Buffer[] = [];
    let window = Math.min(windows.get(stream) ?? 0, connectionWindow);
    for (let bytes = 0; window > 0; window -= bytes) {
      const from = sent.get(stream) ?? 0;
      bytes = Math.min(content.length - from, window, MOST_FRAME_BYTES);
      parts.push(data(stream, content.subarray(from, from + bytes)));
      sent.set(stream, (from + bytes) % content.length);
      windows.set(stream, (windows.get(stream) ?? 0) - bytes);
      connectionWindow -= bytes;
    }
    if (parts.length > 0) client.write(...parts);
  };
  client.onEnd = (stream) => windows.delete(stream);
  client.onWindow = (stream, bytes) => {
    if (stream === 0) {
      connectionWindow += bytes;
      for (const open of windows.keys()) if (connectionWindow > 0) send(open);
    } else if (windows.has(stream)) {
      windows.set(stream, (windows.get(stream) ?? 0) + bytes);
      send(stream);
    }
  };
  for (let stream = 1; stream < 2 * STREAMS; stream += 2) {
    client.write(request(stream, "Chat"));
    windows.set(stream, FIRST_WINDOW_BYTES);
  }
  for (const stream of [...windows.keys()]) send(stream);
}

/** Whether the server serves a call on a new connection. */
async function serves({ port }: Target): Promise<boolean> {
  await using client = await RawClient.connect(port);
  client.write(request(1, "SayHello"), data(1, message("you"), true));
  return await client.until(() => client.ended === 1, 5000);
}
