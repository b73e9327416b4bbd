/** How the callers of a server share a limit. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keyOfCaller } from "../src/sharing/caller-key.ts";
import { Parties, sharedLimits } from "../src/sharing/parties.ts";
import { Account, CallerAccount, SharedLimit } from "../src/sharing/shared-limit.ts";

const limitOf = (total: number) => new SharedLimit("maxSessions", total);

const connectionOf = (limit: SharedLimit) => new Account(new CallerAccount(limit));

/** Takes one after the other until it is refused; returns how many it got. */
function takeAll(account: Account, most = Number.POSITIVE_INFINITY): number {
  let taken = 0;
  for (; taken < most && account.admits(1); taken++) account.count(1);
  return taken;
}

/** The connections of callers, each with a caller of its own, take in turns until all are refused. */
function takeInTurns(accounts: Account[]): number[] {
  for (let took = true; took; ) {
    took = false;
    for (const account of accounts) took = takeAll(account, 1) > 0 || took;
  }
  return accounts.map(({ held }) => held);
}

describe("a limit that callers share", () => {
  test("a caller alone, with one connection, gets most of it", () => {
    const limit = limitOf(8100);
    const taken = takeAll(connectionOf(limit));
    expect(taken).toBeCloseTo(8100 * (8 / 9) ** 2, -1);
  });

  test("a caller alone gets 8/9 of it by many connections", () => {
    const limit = limitOf(9000);
    const caller = new CallerAccount(limit);
    const taken = takeInTurns(Array.from({ length: 50 }, () => new Account(caller)));
    expect(taken.reduce((sum, one) => sum + one)).toBeCloseTo(8000, -2);
  });

  test("a small limit is not lost in roundings", () => {
    expect(takeAll(connectionOf(limitOf(1)))).toBe(1);
    expect(takeAll(connectionOf(limitOf(2)))).toBe(2);
  });

  test("a caller that comes after one that took all it could still gets something, and more when that one ends", () => {
    const limit = limitOf(10_000);
    const greedy = connectionOf(limit);
    takeAll(greedy);
    const honest = connectionOf(limit);
    expect(takeAll(honest)).toBeGreaterThan(1000);
    expect(greedy.isOver).toBe(true);
    expect(honest.isOver).toBe(false);
    greedy.count(-greedy.held);
    expect(takeAll(honest)).toBeGreaterThan(5000);
  });

  test("a caller that comes after 26 greedy ones still gets something", () => {
    const limit = limitOf(25_000);
    takeInTurns(Array.from({ length: 26 }, () => connectionOf(limit)));
    expect(takeAll(connectionOf(limit))).toBeGreaterThan(50);
  });

  test("behind one address, a connection that comes after 26 greedy ones still gets something", () => {
    const limit = limitOf(25_000);
    const address = new CallerAccount(limit);
    takeInTurns(Array.from({ length: 26 }, () => new Account(address)));
    expect(takeAll(new Account(address))).toBeGreaterThan(50);
  });

  test("behind one address, a connection that comes after many that took all they could gets one", () => {
    const limit = limitOf(900);
    const address = new CallerAccount(limit);
    for (let n = 0; n < 20; n++) takeAll(new Account(address));
    expect(takeAll(new Account(address))).toBe(1);
    for (let n = 0; n < 200; n++) takeAll(new Account(address));
    expect(takeAll(new Account(address))).toBe(0);
    // Something is left for others.
    expect(limit.free).toBe(50);
    expect(takeAll(connectionOf(limit))).toBeGreaterThan(30);
  });

  test("callers that take in turns get the same", () => {
    const limit = limitOf(9000);
    const held = takeInTurns(Array.from({ length: 10 }, () => connectionOf(limit)));
    expect(Math.max(...held) - Math.min(...held)).toBeLessThanOrEqual(2);
  });

  test("a caller that holds much does not keep others from a share, whoever comes and goes", () => {
    const events = fc.array(
      fc.record({ who: fc.nat(7), amount: fc.integer({ min: -500, max: 500 }) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), events, (total, events) => {
        const limit = limitOf(total);
        const callers = Array.from({ length: 4 }, () => new CallerAccount(limit));
        const accounts = Array.from(
          { length: 8 },
          (_, n) => new Account(callers[n % 4] as CallerAccount),
        );
        for (const { who, amount } of events) {
          const account = accounts[who] as Account;
          if (amount < 0) account.count(-Math.min(-amount, account.held));
          else if (account.admits(amount)) account.count(amount);
          const sum = accounts.reduce((sum, { held }) => sum + held, 0);
          expect(limit.held).toBe(sum);
          expect(sum).toBeLessThanOrEqual(total);
        }
      }),
    );
  });
});

describe("the key of a caller", () => {
  const keyOf = (address: string | undefined, identity?: string) =>
    keyOfCaller({
      identity,
      peer: { address, isEncrypted: false, certificate: undefined, proxy: undefined },
    });

  test("is its identity, else its address", () => {
    expect(keyOf("192.0.2.1", "ada")).toBe(keyOf("192.0.2.2", "ada"));
    expect(keyOf("192.0.2.1")).toBe("address 192.0.2.1");
    // No identity looks like an address.
    expect(keyOf("192.0.2.1", "192.0.2.1")).not.toBe(keyOf("192.0.2.1"));
    expect(keyOf(undefined)).toBeUndefined();
  });

  test.each([
    ["2001:db8::1", "2001:db8::2", true],
    ["2001:db8:0:0:1::", "2001:0db8:0000:0000:ffff::1", true],
    ["2001:db8:0:1::1", "2001:db8:0:2::1", false],
    ["fe80::1%eth0", "fe80::2%eth1", true],
    ["::1", "::2", true],
    ["::1", "1::", false],
    ["64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", true],
    ["1:2:3:4:5:6:7:8", "1:2:3:4::", true],
  ])("of %s and %s is the same: %s", (one, other, isSame) => {
    expect(keyOf(one) === keyOf(other)).toBe(isSame);
  });
});

test("a connection of many callers, one after the other, keeps none of them", () => {
  const parties = new Parties(sharedLimits({ maxOpenCalls: 1e6, maxSessions: 1, maxBytes: 1 }));
  const peer = {
    address: "10.0.0.1",
    isEncrypted: false,
    certificate: undefined,
    proxy: undefined,
  };
  const connection = { caller: { identity: undefined, peer } };
  const as = (identity: string) => parties.of(connection, { identity, peer });
  const busy = as("busy");
  expect(busy.beginCall()).toBe(true);
  for (let n = 0; n < 10_000; n++) {
    const party = as(`user ${n}`);
    // Every third one is only looked up, as if its call was refused.
    if (n % 3 !== 0 && party.beginCall()) party.endCall();
  }
  expect(parties.callers).toBeLessThan(100);
  expect(as("busy")).toBe(busy);
  parties.onClosed(connection);
  busy.endCall();
  expect(parties.callers).toBe(0);
  expect(parties.limits.calls.held).toBe(0);
});

test("a caller has the same shares on all its connections, also if nothing of it was open for a while", () => {
  const parties = new Parties(sharedLimits({ maxOpenCalls: 90, maxSessions: 1, maxBytes: 1 }));
  const peer = {
    address: "10.0.0.1",
    isEncrypted: false,
    certificate: undefined,
    proxy: undefined,
  };
  const connect = () => {
    const connection = { caller: { identity: undefined, peer } };
    const party = () => parties.of(connection, { identity: "ada", peer });
    // A call that ends before the next connection is made.
    expect(party().beginCall()).toBe(true);
    party().endCall();
    return { connection, party };
  };
  const connections = Array.from({ length: 20 }, connect);
  let calls = 0;
  for (const { party } of connections) while (party().beginCall()) calls++;
  // 8/9 of the total, as for any caller alone, and some for connections that had nothing.
  expect(calls).toBe(85);
  expect(parties.callers).toBe(1);
  const open = connections.map(({ party }) => party());
  for (const { connection } of connections) parties.onClosed(connection);
  expect(parties.callers).toBe(1);
  for (const party of open) while (party.calls.held > 0) party.endCall();
  expect(parties.callers).toBe(0);
});
