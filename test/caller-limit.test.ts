/** createCallerLimit(): a limit of the user's own, which callers share. */
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import { type Caller, caller, createCallerLimit, type Peer } from "../src/server.ts";
import { aborted, until } from "./support/gate.ts";
import { failureOf } from "./support/read.ts";
import { start } from "./support/world.ts";

const peerOf = (address: string | undefined, proxy?: Peer): Peer => ({
  ...{ address, proxy, isEncrypted: false, certificate: undefined },
});
const callerOf = (peer: Peer, identity?: string): Caller => ({ identity, peer });

const limitOf = (total: number) =>
  createCallerLimit({ name: "maxUploads", total, what: "uploads", of: "the disk" });

/** Takes until it is refused, at most `most`; returns what it holds. */
function takeAll(limit: ReturnType<typeof limitOf>, who: Caller, most = Infinity): Disposable[] {
  const held: Disposable[] = [];
  try {
    while (held.length < most) held.push(limit.take(who));
  } catch (error) {
    expect(ConnectError.from(error).code).toBe(Code.ResourceExhausted);
  }
  return held;
}

test("a caller alone gets most of a limit, and the next one finds something", () => {
  const limit = limitOf(900);
  const greedy = Array.from({ length: 20 }, () => callerOf(peerOf("192.0.2.1")));
  // Each connection of the greedy address takes what it can.
  const held = greedy.flatMap((one) => takeAll(limit, one));
  expect(held.length).toBeGreaterThan(780);
  // A share of 800, and one more for each connection that had nothing.
  expect(held.length).toBeLessThanOrEqual(820);
  expect(limit.held).toBe(held.length);
  expect(takeAll(limit, callerOf(peerOf("192.0.2.2"))).length).toBeGreaterThan(50);
});

test("what a caller gives back is free, and counts once", () => {
  const limit = limitOf(1);
  const ann = callerOf(peerOf("192.0.2.1"), "ann");
  const bob = callerOf(peerOf("192.0.2.1"), "bob");
  const taken = limit.take(ann);
  expect(takeAll(limit, bob)).toEqual([]);
  taken[Symbol.dispose]();
  taken[Symbol.dispose]();
  expect(limit.held).toBe(0);
  expect(takeAll(limit, bob)).toHaveLength(1);
});

test("amounts are counted", () => {
  const limit = limitOf(1000);
  const ann = callerOf(peerOf("192.0.2.1"));
  const taken = limit.take(ann, 700);
  expect(limit.held).toBe(700);
  expect(() => limit.take(ann, 700)).toThrow(/the disk has 700 uploads of 1000 \(maxUploads\)/);
  expect(limit.held).toBe(700);
  taken[Symbol.dispose]();
  expect(limit.held).toBe(0);
});

test("without an identity and an address the connection is the caller, behind a proxy the proxy's connection", () => {
  const limit = limitOf(100);
  const proxy = peerOf("192.0.2.9");
  const first = peerOf(undefined);
  expect(takeAll(limit, callerOf(first)).length).toBeGreaterThan(50);
  expect(takeAll(limit, callerOf(first))).toEqual([]);
  expect(takeAll(limit, callerOf(peerOf(undefined)), 3)).toHaveLength(3);
  // Each call through a proxy has another peer, of the same connection.
  const through = () => callerOf(peerOf(undefined, proxy));
  const held = takeAll(limit, through());
  expect(held.length).toBeGreaterThan(0);
  expect(takeAll(limit, through())).toEqual([]);
});

test.each([
  [{ name: "", total: 1, what: "uploads" }, /^createCallerLimit: name is ""/],
  [{ name: "n", total: 0, what: "uploads" }, /^createCallerLimit: total is 0/],
  [{ name: "n", total: 1 }, /^createCallerLimit: what is missing/],
  [{ name: "n", total: 1, what: "u", off: "x" }, /has no option `off`: did you mean `of`/],
])("the options %j are refused", (options, message) => {
  // @ts-expect-error they are wrong
  expect(() => createCallerLimit(options)).toThrow(
    expect.objectContaining({
      code: Code.InvalidArgument,
      rawMessage: expect.stringMatching(message),
    }),
  );
});

test("what is no caller, and no amount, is refused", () => {
  const limit = limitOf(1);
  // @ts-expect-error a context is no caller
  expect(() => limit.take({})).toThrow(/what caller\(context\) returns is needed/);
  expect(() => limit.take(callerOf(peerOf("192.0.2.1")), -1)).toThrow(/amount is -1/);
  expect(limit.held).toBe(0);
});

test("a handler that takes from a limit refuses calls above it, and says when to come again", async () => {
  const limit = createCallerLimit({ name: "maxChats", total: 1, what: "chats" });
  await using world = await start({
    greeter: {
      async *chat(_, context) {
        using _taken = limit.take(caller(context));
        yield { reply: "in" };
        await aborted(context.signal);
      },
    },
  });
  const chat = () => world.client(Greeter).chat();
  const first = chat();
  await first[Symbol.asyncIterator]().next();
  const error = await failureOf(chat()[Symbol.asyncIterator]().next());
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.rawMessage).toBe("the server has 1 chats of 1 (maxChats); no more begin now");
  expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
  first.cancel();
  await until("the first has ended", () => limit.held === 0);
});
