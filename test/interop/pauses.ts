/** Scenarios for every peer's Greeter: a side that does not read for a while, then gets everything. */
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { echo, type Scenario, scenario, type World } from "./world.ts";

/** Long enough to fill every window between the two sides. */
const PAUSE_MS = 500;

const KiB = 1024;

/** Far more than the windows hold: 16 MiB. */
const COUNT = 256;

async function clientPauses({ greeter }: World): Promise<void> {
  const request = { count: COUNT, interval: create(DurationSchema) };
  const push = greeter.subscribe(request, { headers: { "x-bytes": String(64 * KiB) } });
  let sequence = 0n;
  for await (const notification of push) {
    if (++sequence === 1n) await setTimeout(PAUSE_MS);
    assert.equal(notification.sequence, sequence);
    assert.equal(notification.content.length, 64 * KiB);
  }
  assert.equal(sequence, BigInt(COUNT));
}

/** While one call is not read, others on its connection are as usual. */
async function oneOfManyPauses({ greeter }: World): Promise<void> {
  const headers = { "x-bytes": String(64 * KiB) };
  const request = { count: COUNT, interval: create(DurationSchema) };
  const unread = greeter.subscribe(request, { headers })[Symbol.asyncIterator]();
  assert.equal((await unread.next()).value?.sequence, 1n);
  const resumeAt = performance.now() + PAUSE_MS;
  while (performance.now() < resumeAt) await echo(greeter, ["x".repeat(64 * KiB)]);
  for (let sequence = 2n; sequence <= COUNT; sequence++) {
    assert.equal((await unread.next()).value?.sequence, sequence);
  }
  assert.equal((await unread.next()).done, true);
}

async function serverPauses({ greeter }: World): Promise<void> {
  const headers = { "x-wait": String(PAUSE_MS) };
  const content = "x".repeat(64 * KiB);
  await echo(greeter, Array<string>(COUNT).fill(content), { headers });
  await using sink = greeter.collect({ headers });
  for (let i = 0; i < COUNT; i++) await sink.send({ content });
  const total = await sink.finish();
  assert.equal(total.count, COUNT);
  assert.equal(total.bytes, BigInt(COUNT * 64 * KiB));
}

export const pauses: Scenario[] = [
  scenario("a client that pauses gets everything", clientPauses),
  scenario("a call that is not read delays no other", oneOfManyPauses, "independentCalls"),
  scenario("a handler that pauses gets everything", serverPauses),
];
