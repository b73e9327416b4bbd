/** The share that a caller has of what the streams of a server may hold. */
import { describe, expect, test } from "vitest";
import { CONNECTION_FACTOR, ReceiveBudget } from "../src/connection/receive-budget.ts";
import { ServerMemory } from "../src/connection/server-memory.ts";
import { Code } from "../src/server.ts";
import { Parties, type Party, sharedLimits } from "../src/sharing/parties.ts";
import { BudgetTestStream, framed, ManualClock } from "./support/budget-world.ts";
import { until } from "./support/gate.ts";
import { message, request, watchedServer } from "./support/watched-server.ts";
import { data, messages } from "./support/wire.ts";

const KB = 1024;
const MB = 1024 * KB;

/** A server of 9 MB: a caller alone may hold 8 of them. */
function sharedWorld(totalBytes = 9 * MB) {
  const clock = new ManualClock();
  const memory = new ServerMemory(totalBytes, { clock });
  const dropped: Party[] = [];
  const limits = sharedLimits({ maxOpenCalls: 1e6, maxSessions: 1, maxBytes: 1 });
  const parties = new Parties(limits, (party) => {
    dropped.push(party);
    memory.forget(party);
  });
  /** A connection of a client at this address. */
  const connect = (address: string) => {
    const peer = { address, isEncrypted: false, certificate: undefined, proxy: undefined };
    const connection = { caller: { identity: undefined, peer } };
    const budget = new ReceiveBudget(
      { bytes: 100 * MB, of: "the connection", limit: "100 MB", factor: CONNECTION_FACTOR },
      clock,
    );
    const as = (identity: string | undefined) => {
      const caller = identity === undefined ? connection.caller : { identity, peer };
      const own = memory.of(parties.of(connection, caller), budget);
      return { memory: own, open: () => new BudgetTestStream(own, 64 * MB) };
    };
    return { ...as(undefined), as, close: () => parties.onClosed(connection) };
  };
  return { clock, connect, dropped };
}

/** What is held after everything that was queued has run. */
async function heldBy(streams: readonly BudgetTestStream[]): Promise<number> {
  await undefined;
  await undefined;
  return streams.reduce((sum, { error, heldBytes }) => sum + (error ? 0 : heldBytes), 0);
}

/** Opens a stream, on which a message of a megabyte arrives that is not taken. */
function unread(connection: { open(): BudgetTestStream }): BudgetTestStream {
  const stream = connection.open();
  stream.send(framed(MB - 1000));
  return stream;
}

describe("a caller", () => {
  test("that is alone may hold 8/9 of serverBudgetBytes, over all its connections", async () => {
    const { connect } = sharedWorld();
    const connections = [connect("10.0.0.1"), connect("10.0.0.1")];
    const streams: BudgetTestStream[] = [];
    for (let n = 0; n < 12; n++) {
      const connection = connections[n % 2] as (typeof connections)[number];
      if (connection.memory.admits) streams.push(unread(connection));
      expect(await heldBy(streams)).toBeLessThanOrEqual(8 * MB);
    }
    const ended = streams.filter(({ error }) => error !== undefined);
    expect(ended.length).toBeGreaterThan(0);
    expect(ended[0]?.error).toMatchObject({ code: Code.ResourceExhausted });
    expect(ended[0]?.error?.message).toMatch(
      /because the caller holds \d+ B of messages that are not taken.* its share of serverBudgetBytes 9437184 B, now \d+ B/,
    );
    expect(await heldBy(streams)).toBeGreaterThan(6 * MB);
  });

  test("that holds all of its share takes nothing of another one, whose windows grow and whose calls are admitted", async () => {
    const { connect } = sharedWorld();
    const [greedy, honest] = [connect("10.0.0.1"), connect("10.0.0.2")];
    const streams: BudgetTestStream[] = [];
    for (let n = 0; n < 20; n++) if (greedy.memory.admits) streams.push(unread(greedy));
    await heldBy(streams);
    expect([greedy.memory.mayGrow, honest.memory.mayGrow]).toEqual([false, true]);
    expect(honest.memory.admits).toBe(true);
    // Both messages arrive whole at the same time, in parts.
    const [one, other] = [honest.open(), honest.open()];
    const sent = framed(200 * KB);
    expect(one.send(sent.subarray(0, 100 * KB))).toBe(100 * KB);
    expect(other.send(sent)).toBe(sent.length);
    expect(one.send(sent.subarray(100 * KB))).toBe(sent.length - 100 * KB);
    expect([one.inbox, other.inbox]).toEqual([[200 * KB], [200 * KB]]);
  });

  test("that holds more than its share has become, because others came, gives some back within a second", async () => {
    const { connect, clock } = sharedWorld();
    const first = connect("10.0.0.1");
    const streams = Array.from({ length: 7 }, () => unread(first));
    expect(await heldBy(streams)).toBeGreaterThan(6 * MB);
    const second = unread(connect("10.0.0.2"));
    const third = connect("10.0.0.3").open();
    third.send(framed(600 * KB));
    expect(streams.some(({ error }) => error !== undefined)).toBe(false);
    clock.pass(1000);
    expect(await heldBy(streams)).toBeLessThan(6.5 * MB);
    expect(streams.some(({ error }) => error !== undefined)).toBe(true);
    expect([second.error, third.error]).toEqual([undefined, undefined]);
  });

  test("may have a window, however little the others leave", async () => {
    const { connect } = sharedWorld(1.2 * MB);
    unread(connect("10.0.0.1"));
    connect("10.0.0.2")
      .open()
      .send(framed(150 * KB));
    const stream = connect("10.0.0.3").open();
    stream.send(framed(60 * KB));
    expect(await heldBy([stream])).toBeGreaterThan(60 * KB);
  });

  test("of a connection that is a proxy's is one by itself; nothing of it is looked at after its connection", async () => {
    const { connect, dropped } = sharedWorld();
    const proxy = connect("10.0.0.1");
    const [ada, bob] = [proxy.as("ada"), proxy.as("bob")];
    const streams: BudgetTestStream[] = [];
    for (let n = 0; n < 20; n++) if (ada.memory.admits) streams.push(unread(ada));
    await heldBy(streams);
    expect([ada.memory.mayGrow, bob.memory.mayGrow, proxy.memory.mayGrow]).toEqual([
      false,
      true,
      true,
    ]);
    // The same identity elsewhere is the same caller.
    expect(connect("10.0.0.9").as("ada").memory.mayGrow).toBe(false);
    proxy.close();
    expect(dropped).toHaveLength(3);
  });
});

test("one identity that reads nothing, on many connections, is refused; another one at its address is served", async () => {
  await using world = await watchedServer({
    serverBudgetBytes: 4 * MB,
    connectionBudgetBytes: 4 * MB,
    authenticate: ({ header }) => ({ identity: String(header.get("x-name")) }),
  });
  const greedy = { "x-name": "greedy", "x-handler": "idle" };
  const part = message("x".repeat(60_000));
  const peers = await Promise.all(Array.from({ length: 4 }, () => world.dial()));
  for (let stream = 1; stream < 60; stream += 2) {
    for (const peer of peers) {
      peer.write(request(stream, "Chat", greedy));
      await peer.flow(stream, part);
    }
  }
  const endings = () => world.calls.map(({ end }) => end).filter((end) => typeof end === "object");
  await until("a call of the greedy one has ended", () => endings().length > 0);
  expect(endings()[0]?.code).toBe(Code.ResourceExhausted);
  expect(endings()[0]?.message).toMatch(/the caller holds \d+ B .* its share of serverBudgetBytes/);
  const honest = await world.dial();
  const large = "y".repeat(1_000_000);
  honest.write(request(1, "Chat", { "x-name": "honest" }));
  await honest.flow(1, Buffer.concat([message(large), message("z")]));
  honest.write(data(1, undefined, true));
  const { status, body } = await honest.ended(1);
  expect(status).toBe(0);
  expect(messages(body)).toHaveLength(2);
  for (const peer of peers) await peer[Symbol.asyncDispose]();
});
