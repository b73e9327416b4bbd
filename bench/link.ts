/**
 * Hawser over a link with a delay: 50 ms there and back, 50 MB/s in each direction. Messages of 64 KiB are pushed, uploaded
 * and echoed, plain and in sessions; each row is compared with a raw socket that does the same over the same link.
 *
 * The link is a process of its own between the client, which is this one, and the server. It delivers each chunk when the
 * last byte of it would arrive. While it holds more than a router would, it does not read: the sender then waits, as TCP
 * does.
 */
import { once } from "node:events";
import * as net from "node:net";
import { fileURLToPath } from "node:url";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../src/index.ts";
import { createServer } from "../src/server.ts";
import { Child } from "./child.ts";
import { emit, onCommand } from "./commands.ts";
import { median } from "./measure.ts";

const DELAY_MS = 25;
const BYTES_PER_MS = 50_000;

/** What the link holds of one direction: what is under way, and the queue of a router. */
const HELD_BYTES = DELAY_MS * BYTES_PER_MS + 1024 * 1024;

const MESSAGE_BYTES = 64 * 1024;

/** A session passes no more than its window in a round trip; the default is 1 MiB. */
const SESSION_WINDOW_BYTES = 8 * 1024 * 1024;

/** The least speed of a row that has a minimum, divided by that of a raw socket. */
const MINIMUM = 0.8;

/** Windows grow in the first part, which is not measured. */
const timing = { warmMs: 2000, measureMs: 2000 };
const rounds = 3;

const workloads = ["push", "upload", "pipelined"] as const;
type Workload = (typeof workloads)[number];

const ways = ["plain", "session of 8 MiB", "session"] as const;
type Way = (typeof ways)[number];

export interface LinkVerdict {
  ok: boolean;
  /** The round trip of a byte, and what a raw socket passes in one direction. */
  link: { roundTripMs: number; megabytesPerSecond: number; cpuShare: number };
  /** By row: the speed divided by that of a raw socket. */
  ratios: Record<string, number>;
  /** The rows below MINIMUM, in words. */
  missed: string[];
}

/** A run of a workload, until it is stopped. */
interface Run {
  /** How many bytes of content the receiver has, or the client of an echo. */
  received(): number | Promise<number>;
  stop(): unknown;
}

export async function measureLink(): Promise<LinkVerdict> {
  const start = (...args: string[]) =>
    Child.start(args[0] as string, [fileURLToPath(import.meta.url), ...args]);
  await using raw = await start("raw");
  await using server = await start("hawser");
  await using rawLink = await start("link", raw.address);
  await using link = await start("link", server.address);
  const roundTripMs = await roundTrip(rawLink.address);
  const speeds = new Map<string, number[]>();
  let cpuShare = 0;
  for (let round = 0; round < rounds; round++) {
    for (const workload of workloads) {
      const cpuBefore = rawLink.cpuMs();
      const rawSpeed = await speedOf(() => rawRun(workload, rawLink.address, raw.address));
      cpuShare = (rawLink.cpuMs() - cpuBefore) / (timing.warmMs + timing.measureMs);
      note(speeds, `${workload}, raw`, rawSpeed);
      for (const way of ways) {
        const run = () => hawserRun(workload, { way, url: link.address, direct: server.address });
        note(speeds, `${workload}, ${way}`, (await speedOf(run)) / rawSpeed);
      }
    }
  }
  const of = (name: string) => median(speeds.get(name) ?? []);
  const verdict: LinkVerdict = {
    ok: true,
    link: {
      roundTripMs: rounded(roundTripMs),
      megabytesPerSecond: rounded(of("push, raw") / 1000),
      cpuShare: rounded(cpuShare),
    },
    ratios: {},
    missed: [],
  };
  for (const workload of workloads) {
    for (const way of ways) {
      const name = `${workload}, ${way}`;
      const ratio = of(name);
      verdict.ratios[name] = rounded(ratio);
      if (way === "session" || ratio >= MINIMUM) continue;
      verdict.missed.push(`${name}: ${ratio.toFixed(2)} × a raw socket, its minimum is ${MINIMUM}`);
    }
  }
  verdict.ok = verdict.missed.length === 0;
  return verdict;
}

const rounded = (value: number) => Math.round(value * 100) / 100;

function note(speeds: Map<string, number[]>, name: string, speed: number): void {
  const known = speeds.get(name) ?? [];
  speeds.set(name, known);
  known.push(speed);
}

/** Returns bytes per millisecond. */
async function speedOf(start: () => Promise<Run>): Promise<number> {
  const run = await start();
  await after(timing.warmMs);
  const before = await run.received();
  const startedAt = performance.now();
  await after(timing.measureMs);
  const bytes = (await run.received()) - before;
  const ms = performance.now() - startedAt;
  await run.stop();
  return bytes / ms;
}

const after = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

// The client.

async function hawserRun(
  workload: Workload,
  { way, url, direct }: { way: Way; url: string; direct: string },
): Promise<Run> {
  const sessions =
    way === "plain" ? false : way === "session" || { windowBytes: SESSION_WINDOW_BYTES };
  const transport = createTransport({ baseUrl: `http://${url}`, sessions });
  const greeter = createClient(Greeter, transport);
  const content = "x".repeat(MESSAGE_BYTES);
  let bytes = 0;
  let running = true;
  const stop = async () => {
    running = false;
    await transport.close();
  };
  const ignoreEnd = () => {};
  if (workload === "push") {
    (async () => {
      for await (const push of greeter.subscribe({})) bytes += push.content.length;
    })().catch(ignoreEnd);
    return { received: () => bytes, stop };
  }
  if (workload === "pipelined") {
    const chat = greeter.chat();
    (async () => {
      while (running) await chat.send({ content });
    })().catch(ignoreEnd);
    (async () => {
      for await (const { reply } of chat) bytes += reply.length;
    })().catch(ignoreEnd);
    return { received: () => bytes, stop };
  }
  // The server is asked directly: the link has a queue.
  const asking = createTransport({ baseUrl: `http://${direct}` });
  const asked = createClient(Greeter, asking);
  const collect = greeter.collect();
  (async () => {
    while (running) await collect.send({ content });
  })().catch(ignoreEnd);
  return {
    received: async () => Number((await asked.sayHello({})).reply),
    stop: () => Promise.all([stop(), asking.close()]),
  };
}

async function rawRun(workload: Workload, address: string, direct: string): Promise<Run> {
  const socket = await connectTo(address);
  socket.write(workload);
  let bytes = 0;
  socket.on("data", (chunk) => {
    bytes += chunk.length;
  });
  if (workload !== "push") {
    // The first write is the name alone.
    await after(4 * DELAY_MS);
    writeOn(socket);
  }
  return {
    received: () => (workload === "upload" ? askRaw(direct) : bytes),
    stop: () => socket.destroy(),
  };
}

async function askRaw(address: string): Promise<number> {
  const socket = await connectTo(address);
  socket.write("received");
  const [answer] = await once(socket, "data");
  socket.destroy();
  return Number(String(answer));
}

/** Returns the time of a byte there and back. */
async function roundTrip(address: string): Promise<number> {
  const socket = await connectTo(address);
  socket.write("pipelined");
  await after(4 * DELAY_MS);
  const times: number[] = [];
  for (let n = 0; n < 10; n++) {
    const sentAt = performance.now();
    socket.write("x");
    await once(socket, "data");
    times.push(performance.now() - sentAt);
  }
  socket.destroy();
  return median(times);
}

async function connectTo(address: string): Promise<net.Socket> {
  const [host, port] = address.split(":");
  const socket = net.connect({ host, port: Number(port), noDelay: true });
  await once(socket, "connect");
  socket.on("error", () => socket.destroy());
  return socket;
}

const CHUNK = Buffer.alloc(MESSAGE_BYTES, "x");

/** Writes as fast as the socket takes it. */
function writeOn(socket: net.Socket): void {
  while (!socket.destroyed && socket.write(CHUNK));
  if (!socket.destroyed) socket.once("drain", () => writeOn(socket));
}

// The other processes.

async function listen(server: net.Server): Promise<void> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ready(`127.0.0.1:${(server.address() as net.AddressInfo).port}`);
}

function ready(address: string): void {
  onCommand(() => {});
  emit({ event: "ready", address });
}

async function serveRaw(): Promise<void> {
  let received = 0;
  const server = net.createServer({ noDelay: true }, async (socket) => {
    socket.on("error", () => socket.destroy());
    const [workload] = await once(socket, "data");
    if (String(workload) === "push") writeOn(socket);
    else if (String(workload) === "pipelined") socket.pipe(socket);
    else if (String(workload) === "received") socket.end(String(received));
    else {
      socket.on("data", (chunk) => {
        received += chunk.length;
      });
    }
  });
  await listen(server);
}

async function serveHawser(): Promise<void> {
  let received = 0;
  const server = createServer({
    sessions: { windowBytes: SESSION_WINDOW_BYTES },
    routes: (router) =>
      router.service(Greeter, {
        sayHello: () => ({ reply: String(received) }),
        async *subscribe(_request, { signal }) {
          const content = "x".repeat(MESSAGE_BYTES);
          while (!signal.aborted) yield { content };
        },
        async collect(requests) {
          for await (const { content } of requests) received += content.length;
          return {};
        },
        async *chat(requests) {
          for await (const { content } of requests) yield { reply: content };
        },
      }),
  });
  const { port } = await server.listen({ host: "127.0.0.1", port: 0 });
  ready(`127.0.0.1:${port}`);
}

async function serveLink(target: string): Promise<void> {
  const [host, port] = target.split(":");
  const server = net.createServer({ noDelay: true }, (client) => {
    const socket = net.connect({ host, port: Number(port), noDelay: true });
    forward(client, socket);
    forward(socket, client);
  });
  await listen(server);
}

/** Delivers what `from` sends to `to`, later. */
function forward(from: net.Socket, to: net.Socket): void {
  const chunks: { dueAt: number; bytes: Buffer }[] = [];
  let heldBytes = 0;
  /** When the last byte before leaves the sender's end of the link. */
  let freeAt = 0;
  let isScheduled = false;
  const deliver = () => {
    isScheduled = false;
    const now = performance.now();
    for (let next = chunks[0]; next !== undefined && next.dueAt <= now; next = chunks[0]) {
      const { length } = next.bytes;
      to.write(next.bytes, () => {
        heldBytes -= length;
        if (heldBytes < HELD_BYTES) from.resume();
      });
      chunks.shift();
    }
    schedule();
  };
  const schedule = () => {
    const [next] = chunks;
    if (next === undefined || isScheduled) return;
    isScheduled = true;
    setTimeout(deliver, Math.max(0, next.dueAt - performance.now()));
  };
  from.on("data", (bytes) => {
    freeAt = Math.max(freeAt, performance.now()) + bytes.length / BYTES_PER_MS;
    chunks.push({ dueAt: freeAt + DELAY_MS, bytes });
    heldBytes += bytes.length;
    if (heldBytes >= HELD_BYTES) from.pause();
    schedule();
  });
  from.on("error", () => {});
  from.on("close", () => to.destroy());
}

if (import.meta.main) {
  const [role, target = ""] = process.argv.slice(2);
  if (role === "raw") await serveRaw();
  else if (role === "hawser") await serveHawser();
  else await serveLink(target);
}
