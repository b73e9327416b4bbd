import { describe, expect, test } from "vitest";
import { SessionLost_Reason as Reason } from "../gen/hawser/v1/session_pb.js";
import { Code } from "../src/server.ts";
import { until } from "./support/gate.ts";
import { type Asking, CONTROL, end, newId, received } from "./support/session-peer.ts";
import { scene } from "./support/session-scene.ts";
import { message } from "./support/watched-server.ts";
import { envelope, rst } from "./support/wire.ts";

// Requests of a hostile client to a server that keeps sessions: each is refused with an error that names the fault, and
// another session, on the same connection, continues. Input on an attachment that is admitted: session-input-frames.test.ts.

const u64 = `${2n ** 64n - 1n}`;
const tooLarge = `${2n ** 53n}`;

const badHeaders: [name: string, values: (string | undefined)[]][] = [
  [
    "hawser-session",
    ["", "0".repeat(31), "0".repeat(33), "A".repeat(32), `${"0".repeat(31)}g`, "\xff".repeat(32)],
  ],
  ["hawser-session", ["x".repeat(9000), `${newId()}, ${newId()}`]],
  ["hawser-attach", [undefined, "", "0", "-1", "1.5", "1e3", "0x1", "one", "1, 1", tooLarge, u64]],
  ["hawser-attach", ["9".repeat(17), "9".repeat(5000), "+1", "\xb2"]],
  ["hawser-received", [undefined, "", "-1", "0.5", "1e3", "none", tooLarge, u64, "9".repeat(5000)]],
  ["hawser-window", [undefined, "", "0,0", "0,1", "1,0", "-1,-1", "1", "1,1,1", "1;1", "1e9,1"]],
  ["hawser-window", [`${u64},1`, `1,${u64}`, "1,", ",1", "all,all"]],
  ["hawser-epoch", [undefined, "", "0", newId().toUpperCase(), `${newId()}0`]],
  ["hawser-opened", ["", "-1", "now", "1.5", tooLarge, u64]],
  ["hawser-cancel", ["", "0", "yes", u64]],
];

describe.each([1, 2])("headers that are not valid on attachment %i", (attach) => {
  test.each(badHeaders)("%s of %j is refused with INVALID_ARGUMENT", async (name, values) => {
    await using stage = await scene();
    const { world, peer } = stage;
    const id = newId();
    const victim = peer.attach(id);
    await victim.answer();
    for (const value of values) {
      const session = attach === 1 ? newId() : id;
      const headers = { [name]: value };
      const { status, lost, message } = await peer.attach(session, { attach, headers }).ended();
      expect(status, `${name}: ${value}`).toBe(Code.InvalidArgument);
      expect(lost).toBeUndefined();
      expect(message).toContain(name);
      expect(message.length).toBeLessThan(250);
    }
    expect(world.runs).toHaveLength(2);
    victim.send("on", end(1));
    expect(await victim.hears(1)).toEqual(["on"]);
    expect(await victim.ended()).toMatchObject({ status: 0 });
    victim.halfClose();
  });
});

test.each([
  ["more received than was sent, at the start", { received: 1 }, "before it began"],
  ["more received than was sent, later", { attach: 2, received: 2 }, "received 2 messages of 1"],
  ["far more", { attach: 2, received: `${2n ** 53n - 1n}` }, "messages of 1"],
] as [string, Asking, string][])(
  "%s is refused with INVALID_ARGUMENT, and the session continues",
  async (_, asking, says) => {
    await using stage = await scene();
    const { world, peer } = stage;
    const id = newId();
    const victim = peer.attach(id);
    victim.send("one");
    await victim.hears(1);
    const session = asking.attach === undefined ? newId() : id;
    const { status, lost, message } = await peer.attach(session, asking).ended();
    expect(status).toBe(Code.InvalidArgument);
    expect(lost).toMatchObject({ reason: Reason.PROTOCOL_ERROR });
    expect(message).toContain(says);
    expect(world.runs).toHaveLength(2);
    victim.send("two", end(2));
    expect(await victim.hears(2)).toEqual(["one", "two"]);
    expect(await victim.ended()).toMatchObject({ status: 0 });
    victim.halfClose();
  },
);

test("a client whose clock is ahead of the server's by at most the grace gets its session, and no tombstone stays for long", async () => {
  await using stage = await scene({ sessions: { graceMs: 300, maxSessions: 2 } });
  const { peer } = stage;
  for (const aheadMs of [5, 100, 250]) {
    const opened = { "hawser-opened": `${peer.serverNowMs + aheadMs}` };
    const ahead = peer.attach(newId(), { attach: 2, opened: true, headers: opened });
    expect(await ahead.answer()).toMatchObject({ "hawser-session": "new" });
    ahead.send(end(0));
    expect(await ahead.ended()).toMatchObject({ status: 0 });
    ahead.halfClose();
    // A tombstone must be gone after the grace, counted from what the client's clock said: only time shows it.
    await new Promise((resolve) => setTimeout(resolve, aheadMs + 310));
  }
});

test("a client whose clock is ahead of the server's by more than the grace gets EXPIRED, and no session is left", async () => {
  await using stage = await scene({ sessions: { graceMs: 300, maxSessions: 2 } });
  const { peer } = stage;
  for (const aheadMs of [5_000, 2 ** 50]) {
    for (const attach of [1, 2]) {
      const opened = { "hawser-opened": `${peer.serverNowMs + aheadMs}` };
      const { lost } = await peer.attach(newId(), { attach, headers: opened }).ended();
      expect(lost).toMatchObject({ reason: Reason.EXPIRED });
    }
  }
  const usual = peer.attach(newId());
  expect(await usual.answer()).toMatchObject({ "hawser-session": "new" });
  usual.send(end(0));
  await usual.ended();
  usual.halfClose();
});

test("a unary call ignores the headers of sessions", async () => {
  await using stage = await scene();
  const { peer } = stage;
  const nonsense = { "hawser-attach": "0", "hawser-received": u64, "hawser-cancel": "1" };
  for (const headers of [{}, nonsense]) {
    const call = peer.attach(newId(), {
      path: "SayHello",
      headers,
      frames: [message("hello")],
      halfClosed: true,
    });
    expect(await call.hears(1)).toEqual(["hello"]);
    const { status, trailers } = await call.ended();
    expect(status).toBe(0);
    expect(Object.keys({ ...(await call.answer()), ...trailers }).join()).not.toContain("hawser");
  }
});

test("a streaming call without hawser-session has no session, whatever its other headers are", async () => {
  await using stage = await scene();
  const { peer } = stage;
  const call = peer.attach(newId(), {
    headers: { "hawser-session": undefined },
    halfClosed: false,
  });
  call.send("plain");
  expect(await call.hears(1)).toEqual(["plain"]);
  call.halfClose();
  expect(await call.ended()).toMatchObject({ status: 0, sent: undefined });
});

test.each([
  ["a plain call", "NO_ERROR", 0, false],
  ["a plain call", "CANCEL", 8, false],
  ["a session", "NO_ERROR", 0, true],
  ["a session", "CANCEL", 8, true],
])(
  "%s that its client immediately resets with %s leaves no session and no handler",
  async (_, __, code, isSession) => {
    await using stage = await scene({ sessions: { graceMs: 100 } });
    const { peer, world } = stage;
    const headers = isSession ? {} : { "hawser-session": undefined };
    for (let n = 0; n < 20; n++) {
      const attached = peer.attach(newId(), { headers, frames: [message("one")] });
      attached.reset(code);
      if (n % 2 === 0) await peer.peer.ping();
    }
    await until("only the other session is left", () => world.server.openCalls === 1);
  },
);

/** Numbers below `most`, the same in each run (xorshift). */
function dice(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % most;
  };
}

test("attachments with random headers and frames leave no handler and no session", async () => {
  await using stage = await scene({ sessions: { graceMs: 250 } });
  const { peer, world } = stage;
  const { epoch } = peer.terms;
  const roll = dice(20_261_123);
  const one = <T>(...values: readonly T[]) => values[roll(values.length)] as T;
  const ids = Array.from({ length: 60 }, newId);
  for (let n = 0; n < 400; n++) {
    const attached = peer.attach(one(...ids), {
      attach: one<number>(0, 1, 2, 3, n),
      received: one<number | string>(0, 0, 0, 0, 0, 1, u64),
      opened: one(true, false),
      path: one("Chat", "Chat", "Collect", "Subscribe"),
      headers: {
        "hawser-epoch": one(epoch, epoch, epoch, epoch, newId(), "no"),
        "hawser-window": one("1048576,16384", "1,1", "0,0"),
        "hawser-cancel": one(undefined, undefined, undefined, "1"),
      },
    });
    const bytes = Buffer.from(Array.from({ length: roll(40) }, () => roll(256)));
    attached.send(one(received(0), end(0), message("x"), envelope(bytes, CONTROL), bytes));
    if (roll(3) > 0) attached.reset(one<number>(0, 8));
    if (n % 20 === 0) await peer.peer.ping();
    else if (roll(4) === 0) attached.halfClose();
  }
  await peer.peer.ping();
  for (let stream = 5; stream < 5 + 2 * 400; stream += 2) peer.peer.write(rst(stream, 8));
  await until("only the other session is left", () => world.server.openCalls === 1);
  // The handler of a session that is reset with its first bytes never runs.
  expect(world.runs.length).toBeGreaterThan(10);
});
