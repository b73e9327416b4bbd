/** A server in a separate process, a hostile client that uses as much of it as it can, and an honest client. */
import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient } from "../src/index.ts";
import "./support/compile-cache.ts";
import { honest } from "./support/honest.ts";
import { bomb, cancelInventedSessions, flood, subscribe } from "./support/hostile-client.ts";
import { startExampleServer } from "./support/program.ts";

vi.setConfig({ testTimeout: 60_000 });

const MIB = 2 ** 20;
/** A busy machine takes several times as long; the faults that this test finds take longer still. */
const SOON_MS = 5000;

const portOf = (url: string) => Number(new URL(url).port);

test("subscriptions that never pause fail no call of others, neither while they last nor when they were left", async () => {
  await using server = await startExampleServer();
  await using client = await honest(server.url);
  {
    await using _hostile = await subscribe(portOf(server.url), { calls: 900, connections: 1 });
    expect(await client.calls(2000)).toMatchObject({ failed: 0 });
  }
  // The sessions of the hostile client fill their windows now.
  expect(await client.calls(2000)).toMatchObject({ failed: 0 });
});

test("a server that is sent SIGTERM beside subscriptions that never pause ends", async () => {
  await using server = await startExampleServer("--grace", "0s");
  await using client = await honest(server.url);
  await using _hostile = await subscribe(portOf(server.url), { calls: 900, connections: 1 });
  await client.calls(500);
  const toldAt = performance.now();
  server.kill("SIGTERM");
  expect(await server.ended).toBe(0);
  expect(performance.now() - toldAt).toBeLessThan(SOON_MS);
});

test("cancels of sessions that never existed keep no session of others from beginning", async () => {
  await using server = await startExampleServer();
  await using client = await honest(server.url);
  await cancelInventedSessions(portOf(server.url), 2000);
  expect(await client.subscribes()).toBe(3);
});

test("gzip that inflates a thousandfold delays no call of others for long", async () => {
  await using server = await startExampleServer();
  await using client = await honest(server.url);
  const size = { bytes: 2e6, connections: 2, streams: 20 };
  await using _hostile = await flood(portOf(server.url), bomb(900_000), size);
  const felt = await client.calls(2000);
  expect(felt.failed).toBe(0);
  expect(felt.p50).toBeLessThan(1000);
});

test("the server holds a few messages of gzip that inflates a thousandfold, and frees their memory", async () => {
  await using server = await startExampleServer();
  const before = rssOf(server.pid);
  if (before === undefined) return;
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, rssOf(server.pid) ?? 0);
  }, 10);
  try {
    // 600 MiB on 20 streams, after it is inflated.
    const size = { bytes: 600_000, connections: 2, streams: 10 };
    await using hostile = await flood(portOf(server.url), bomb(4 * MIB), size);
    await hostile.answered;
  } finally {
    clearInterval(watch);
  }
  // A handler holds its last message until the next one: 80 MiB, as much in threads, and garbage.
  expect(most - before).toBeLessThan(400 * MIB);
  // Garbage is collected while other calls need memory.
  await using large = await honest(server.url, (transport) => {
    const greeter = createClient(Greeter, transport);
    return (_, options) => greeter.sayHello({ content: "x".repeat(MIB) }, options);
  });
  const isFreed = () => (rssOf(server.pid) as number) - before < 300 * MIB;
  for (let round = 0; round < 8 && !isFreed(); round++) await large.calls(500);
  expect(isFreed()).toBe(true);
});

/** The resident memory of a process, in bytes; `undefined` if the system does not report it. */
function rssOf(pid: number): number | undefined {
  try {
    const [, kib] = readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+) kB/) ?? [];
    return Number(kib) * 1024;
  } catch {
    return undefined;
  }
}
