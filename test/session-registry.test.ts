/** Which sessions a server has, what it forgets of them, and what must never begin twice. */
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { failure } from "../src/failure.ts";
import { TOMBSTONES_PER_CONNECTION } from "../src/session/tombstones.ts";
import { frame, GRACE_MS, House, START_MS } from "./support/registry-world.ts";

const FAR = Number.MAX_SAFE_INTEGER;

test.each([
  ["its own", "here"],
  ["another process", "there"],
])(
  "cancels of sessions that nobody knows, opened at the end of time by the clock of %s, keep no session from beginning",
  (_, epoch) => {
    const house = new House({ maxSessions: 3 });
    for (const id of ["a", "b", "c", "d"]) {
      expect(house.ask(id, { attach: 2, opened: FAR, epoch, cancel: true })).toBe("Canceled");
    }
    for (const id of ["e", "f", "g"]) expect(house.ask(id)).toBe("in");
    expect(house.ask("h")).toBe("ResourceExhausted");
  },
);

test("sessions that ended with attachments skipped keep no other from beginning", () => {
  const house = new House({ maxSessions: 3 });
  for (const id of ["a", "b", "c"]) {
    expect(house.ask(id, { attach: 2, opened: START_MS + GRACE_MS })).toBe("in");
    expect(house.ask(id, { attach: 3, cancel: true })).toBe("Canceled");
  }
  for (const id of ["e", "f", "g"]) expect(house.ask(id)).toBe("in");
});

test("a tombstone refuses what it overtook for the grace, and not for longer", () => {
  const house = new House();
  expect(house.ask("a", { attach: 2, opened: START_MS, cancel: true })).toBe("Canceled");
  house.time.pass(GRACE_MS);
  expect(house.ask("a", { opened: 5000 })).toBe("UNKNOWN");
  house.time.pass(1);
  expect(house.ask("b", { attach: 2, opened: START_MS + GRACE_MS, cancel: true })).toBe("Canceled");
  expect(house.ask("a")).toBe("in");
});

test.each([
  ["cancels of sessions that never were", { attach: 2, cancel: true }],
  ["sessions that end with an attachment skipped", { attach: 2 }],
])("a connection's %s drop its own oldest tombstones, and not those of others", (_, asking) => {
  const house = new House({ maxSessions: 5000 });
  const [own, others] = [{}, {}];
  const leave = (id: string, connection: object) => {
    house.ask(id, { opened: 5000, connection, ...asking });
    house.ask(id, { attach: 3, connection, cancel: true });
  };
  leave("theirs", others);
  for (let n = 0; n <= TOMBSTONES_PER_CONNECTION; n++) leave(`${n}`, own);
  expect(house.ask("1", { opened: 5000 })).toBe("UNKNOWN");
  expect(house.ask("theirs", { opened: 5000 })).toBe("UNKNOWN");
  expect(house.ask("0", { opened: 5000 })).toBe("in");
});

test("a time that is ahead of the server's clock by more than the grace is EXPIRED: the client asks for the clock again", () => {
  const house = new House();
  expect(house.ask("a", { opened: START_MS + GRACE_MS + 1 })).toBe("EXPIRED");
  expect(house.ask("a", { opened: FAR })).toBe("EXPIRED");
  expect(house.runs).toEqual([]);
});

test("a session whose client thinks that the server's clock is ahead is never started twice", () => {
  const house = new House({ maxSessions: 100 });
  const opened = START_MS + GRACE_MS - 1;
  expect(house.ask("a", { opened })).toBe("in");
  house.lose("a");
  house.time.pass(GRACE_MS);
  expect(house.app("a").outcome.is).toBe("lost");
  // No answer had come: for as long as its time looks young, the session stays known as one that is over.
  for (let n = 0; n < 20; n++) {
    // A session that begins has the server forget those that need not be known any more.
    expect(house.ask(`other ${n}`)).toBe("in");
    expect(["UNKNOWN", "EXPIRED"]).toContain(house.ask("a", { attach: 2 + n, opened }));
    house.time.pass(GRACE_MS / 10);
  }
  expect(house.runsOf("a")).toBe(1);
});

test("a cancel keeps what it overtook from starting, whatever the clock of the process that the client asked", () => {
  for (const opened of [1, FAR]) {
    const house = new House();
    expect(house.ask("a", { attach: 2, opened, epoch: "there", cancel: true })).toBe("Canceled");
    expect(house.ask("a", { opened, epoch: "there" })).toBe("UNKNOWN");
    expect(house.runs).toEqual([]);
  }
});

test("messages behind the end of a call cost nothing", () => {
  const house = new House();
  expect(house.ask("a")).toBe("in");
  const { session } = house.app("a");
  house.app("a").close();
  for (const text of ["a", "bc"]) session.onMessage(frame(text), house.stream("a"));
  expect(house.registry.bytes).toBe(0);
});

test("a cancel of a session that ended leaves nothing behind", () => {
  const house = new House({ maxSessions: 1 });
  for (const id of ["a", "b"]) {
    expect(house.ask(id, { attach: 2, opened: undefined, cancel: true })).toBe("Canceled");
  }
  expect(house.ask("new")).toBe("in");
});

test.each([
  ["the first that came was not the first that was sent", [2], 1],
  ["one between was skipped", [1, 3], 2],
])("%s: what comes late starts no second run of the handler", (_, attaches, late) => {
  for (const settle of ["confirmed", "cancelled"]) {
    const house = new House();
    for (const attach of attaches) expect(house.ask("a", { attach, opened: 5000 })).toBe("in");
    const last = Math.max(...attaches);
    if (settle === "cancelled") {
      expect(house.ask("a", { attach: last + 1, opened: 5000, cancel: true })).toBe("Canceled");
    } else {
      const app = house.app("a");
      app.close();
      app.session.onHalfClose(true, house.stream("a"));
    }
    expect(house.registry.size).toBe(0);
    expect(house.ask("a", { attach: late, opened: 5000 })).toBe("UNKNOWN");
    expect(house.runsOf("a")).toBe(1);
  }
});

test("a cancel that skipped an attachment keeps that from starting the handler again", () => {
  const house = new House();
  expect(house.ask("a", { opened: 5000 })).toBe("in");
  expect(house.ask("a", { attach: 3, opened: 5000, cancel: true })).toBe("Canceled");
  expect(house.ask("a", { attach: 2, opened: 5000 })).toBe("UNKNOWN");
  expect(house.runsOf("a")).toBe(1);
});

test("an end that made room for others is no session that never was", () => {
  const house = new House({ maxSessions: 2 });
  expect(house.ask("a", { opened: 5000 })).toBe("in");
  expect(house.ask("b")).toBe("in");
  house.app("a").close();
  // The client never heard of the end, nor of the answer.
  house.lose("a");
  expect(house.ask("c")).toBe("in");
  expect(house.ask("a", { attach: 2, opened: 5000 })).toBe("UNKNOWN");
  expect(house.runsOf("a")).toBe(1);
});

test("a session that was given up is none that never was, and its handler hears of it", () => {
  const house = new House();
  expect(house.ask("a", { opened: 5000 })).toBe("in");
  house.app("a").giveUp();
  expect(house.app("a").outcome).toMatchObject({ is: "lost", error: { code: Code.Aborted } });
  expect(house.app("a").closed).toBe(true);
  expect(house.ask("a", { attach: 2, opened: 5000 })).toBe("UNKNOWN");
  expect(house.runsOf("a")).toBe(1);
});

test("makes room by ends that wait to be confirmed, the oldest first, and by nothing else", () => {
  const house = new House({ maxSessions: 3 });
  for (const id of ["a", "b", "c"]) expect(house.ask(id)).toBe("in");
  expect(house.ask("d")).toBe("ResourceExhausted");
  house.app("b").close();
  house.app("a").close();
  expect(house.ask("d")).toBe("in");
  expect(house.ask("a", { attach: 2 })).toBe("in");
  expect(house.ask("b", { attach: 2, opened: undefined })).toBe("UNKNOWN");
  expect(house.app("c").running).toBe(true);
});

test("makes room by bytes too", () => {
  const house = new House({ maxSessions: 100, maxBytes: 100 });
  expect(house.ask("a")).toBe("in");
  house.app("a").send(1, 200);
  expect(house.registry.bytes).toBeGreaterThan(100);
  expect(house.ask("b")).toBe("ResourceExhausted");
  house.app("a").fail(failure(Code.Internal, "the handler threw"));
  expect(house.ask("b")).toBe("in");
  expect(house.registry.bytes).toBe(0);
});

test("counts a session for the connection that it came on last", () => {
  const house = new House({ maxSessions: 100, maxPerConnection: 1 });
  const [one, two] = [{}, {}];
  expect(house.ask("a", { connection: one })).toBe("in");
  expect(house.ask("b", { connection: one })).toBe("ResourceExhausted");
  expect(house.ask("a", { attach: 2, connection: two })).toBe("in");
  expect(house.ask("b", { connection: one })).toBe("in");
  expect(house.ask("c", { connection: two })).toBe("ResourceExhausted");
  expect(house.ask("a", { attach: 3, cancel: true })).toBe("Canceled");
  expect(house.ask("c", { connection: two })).toBe("in");
});

test("paces resumes: each is told to come again in one of the next seconds, and is kept until then", () => {
  const house = new House({ resumesPerSecond: 2 });
  for (const id of ["a", "b", "c"]) {
    house.ask(id);
    house.lose(id);
  }
  expect(["a", "b", "c"].map((id) => house.ask(id, { attach: 2 }))).toEqual([
    "in",
    "in",
    "Unavailable",
  ]);
  house.time.pass(GRACE_MS + 500);
  expect(house.app("c").running).toBe(true);
  expect(house.ask("c", { attach: 3 })).toBe("in");
});

test("ends all that wait when the server closes", () => {
  const house = new House();
  for (const id of ["a", "b"]) house.ask(id);
  house.lose("a");
  house.app("b").close();
  house.registry.close();
  expect(house.registry.size).toBe(0);
  expect(house.app("a").outcome.is).toBe("lost");
  expect(house.app("b").outcome.is).toBe("ended");
  expect(house.time.timers).toBe(0);
});
