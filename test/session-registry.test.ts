/** Which sessions a server has, what it forgets of them, and what must never begin twice. */
import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { failure } from "../src/failure.ts";
import { TOMBSTONES_PER_CONNECTION } from "../src/session/tombstones.ts";
import { frame, GRACE_MS, RegistryWorld, START_MS } from "./support/registry-world.ts";

const FAR = Number.MAX_SAFE_INTEGER;

test.each([
  ["this process", "here"],
  ["another process", "there"],
])(
  "cancels of unknown sessions, opened at the end of time by the clock of %s, keep no session from beginning",
  (_, epoch) => {
    const world = new RegistryWorld({ maxSessions: 3 });
    for (const id of ["a", "b", "c", "d"]) {
      expect(world.ask(id, { attach: 2, opened: FAR, epoch, cancel: true })).toBe("Canceled");
    }
    for (const id of ["e", "f", "g"]) expect(world.ask(id)).toBe("in");
    expect(world.ask("h")).toBe("ResourceExhausted");
  },
);

test("sessions that ended with attachments skipped keep no other from beginning", () => {
  const world = new RegistryWorld({ maxSessions: 3 });
  for (const id of ["a", "b", "c"]) {
    expect(world.ask(id, { attach: 2, opened: START_MS + GRACE_MS })).toBe("in");
    expect(world.ask(id, { attach: 3, cancel: true })).toBe("Canceled");
  }
  for (const id of ["e", "f", "g"]) expect(world.ask(id)).toBe("in");
});

test("a tombstone refuses the attachments that it overtook for the grace, and not for longer", () => {
  const world = new RegistryWorld();
  expect(world.ask("a", { attach: 2, opened: START_MS, cancel: true })).toBe("Canceled");
  world.time.pass(GRACE_MS);
  expect(world.ask("a", { opened: 5000 })).toBe("UNKNOWN");
  world.time.pass(1);
  expect(world.ask("b", { attach: 2, opened: START_MS + GRACE_MS, cancel: true })).toBe("Canceled");
  expect(world.ask("a")).toBe("in");
});

test.each([
  ["cancels of sessions that never were", { attach: 2, cancel: true }],
  ["sessions that end with an attachment skipped", { attach: 2 }],
])("a connection's %s drop its own oldest tombstones, and not those of others", (_, asking) => {
  const world = new RegistryWorld({ maxSessions: 5000 });
  const [own, others] = [{}, {}];
  const leave = (id: string, connection: object) => {
    world.ask(id, { opened: 5000, connection, ...asking });
    world.ask(id, { attach: 3, connection, cancel: true });
  };
  leave("theirs", others);
  for (let n = 0; n <= TOMBSTONES_PER_CONNECTION; n++) leave(`${n}`, own);
  expect(world.ask("1", { opened: 5000 })).toBe("UNKNOWN");
  expect(world.ask("theirs", { opened: 5000 })).toBe("UNKNOWN");
  expect(world.ask("0", { opened: 5000 })).toBe("in");
});

test("a session that was opened ahead of the server's clock by more than the grace is EXPIRED, so that the client asks for the clock again", () => {
  const world = new RegistryWorld();
  expect(world.ask("a", { opened: START_MS + GRACE_MS + 1 })).toBe("EXPIRED");
  expect(world.ask("a", { opened: FAR })).toBe("EXPIRED");
  expect(world.runs).toEqual([]);
});

test("a session whose client takes the server's clock as ahead never begins twice", () => {
  const world = new RegistryWorld({ maxSessions: 100 });
  const opened = START_MS + GRACE_MS - 1;
  expect(world.ask("a", { opened })).toBe("in");
  world.lose("a");
  world.time.pass(GRACE_MS);
  expect(world.app("a").outcome.is).toBe("lost");
  // No answer had come: while it looks opened within the grace, the session stays known as one that has ended.
  for (let n = 0; n < 20; n++) {
    // When a session begins, the server forgets tombstones that are no longer needed.
    expect(world.ask(`other ${n}`)).toBe("in");
    expect(["UNKNOWN", "EXPIRED"]).toContain(world.ask("a", { attach: 2 + n, opened }));
    world.time.pass(GRACE_MS / 10);
  }
  expect(world.runsOf("a")).toBe(1);
});

test("a cancel keeps the attachments that it overtook from starting, whatever the clock of the process that the client asked", () => {
  for (const opened of [1, FAR]) {
    const world = new RegistryWorld();
    expect(world.ask("a", { attach: 2, opened, epoch: "there", cancel: true })).toBe("Canceled");
    expect(world.ask("a", { opened, epoch: "there" })).toBe("UNKNOWN");
    expect(world.runs).toEqual([]);
  }
});

test("a server that keeps one session also remembers cancels while other sessions end", () => {
  const world = new RegistryWorld({ maxSessions: 1 });
  expect(world.ask("a", { attach: 2, opened: START_MS, cancel: true })).toBe("Canceled");
  for (const id of ["b", "c"]) {
    expect(world.ask(id, { attach: 2, opened: START_MS })).toBe("in");
    expect(world.ask(id, { attach: 3, cancel: true })).toBe("Canceled");
  }
  expect(world.ask("a", { opened: START_MS })).toBe("UNKNOWN");
});

test("messages after the end of a call count no bytes", () => {
  const world = new RegistryWorld();
  expect(world.ask("a")).toBe("in");
  const { session } = world.app("a");
  world.app("a").close();
  for (const text of ["a", "bc"]) session.onMessage(frame(text), world.stream("a"));
  expect(world.registry.bytes).toBe(0);
});

test("a cancel of a session that ended leaves no tombstone", () => {
  const world = new RegistryWorld({ maxSessions: 1 });
  for (const id of ["a", "b"]) {
    expect(world.ask(id, { attach: 2, opened: undefined, cancel: true })).toBe("Canceled");
  }
  expect(world.ask("new")).toBe("in");
});

test.each([
  ["the first attachment that came was not the first that was sent", [2], 1],
  ["an attachment was skipped", [1, 3], 2],
])("%s: an attachment that comes late starts no second run of the handler", (_, attaches, late) => {
  for (const settle of ["confirmed", "cancelled"]) {
    const world = new RegistryWorld();
    for (const attach of attaches) expect(world.ask("a", { attach, opened: 5000 })).toBe("in");
    const last = Math.max(...attaches);
    if (settle === "cancelled") {
      expect(world.ask("a", { attach: last + 1, opened: 5000, cancel: true })).toBe("Canceled");
    } else {
      const app = world.app("a");
      app.close();
      app.session.onHalfClose(true, world.stream("a"));
    }
    expect(world.registry.size).toBe(0);
    expect(world.ask("a", { attach: late, opened: 5000 })).toBe("UNKNOWN");
    expect(world.runsOf("a")).toBe(1);
  }
});

test("a cancel that skipped an attachment keeps the attachment from starting the handler again", () => {
  const world = new RegistryWorld();
  expect(world.ask("a", { opened: 5000 })).toBe("in");
  expect(world.ask("a", { attach: 3, opened: 5000, cancel: true })).toBe("Canceled");
  expect(world.ask("a", { attach: 2, opened: 5000 })).toBe("UNKNOWN");
  expect(world.runsOf("a")).toBe(1);
});

test("a session whose end was dropped for others is UNKNOWN, and does not begin again", () => {
  const world = new RegistryWorld({ maxSessions: 2 });
  expect(world.ask("a", { opened: 5000 })).toBe("in");
  expect(world.ask("b")).toBe("in");
  world.app("a").close();
  // Neither the end nor the answer has reached the client.
  world.lose("a");
  expect(world.ask("c")).toBe("in");
  expect(world.ask("a", { attach: 2, opened: 5000 })).toBe("UNKNOWN");
  expect(world.runsOf("a")).toBe(1);
});

test("a session that was given up is UNKNOWN, and its handler's call is lost", () => {
  const world = new RegistryWorld();
  expect(world.ask("a", { opened: 5000 })).toBe("in");
  world.app("a").giveUp();
  expect(world.app("a").outcome).toMatchObject({ is: "lost", error: { code: Code.Aborted } });
  expect(world.app("a").closed).toBe(true);
  expect(world.ask("a", { attach: 2, opened: 5000 })).toBe("UNKNOWN");
  expect(world.runsOf("a")).toBe(1);
});

test.each(["runs", "has ended"])(
  "where HTTP/2 does not allow the headers or trailers of a handler, its call, which %s, is told the cause, and the session is UNKNOWN",
  (state) => {
    const world = new RegistryWorld();
    expect(world.ask("a", { opened: 5000 })).toBe("in");
    const { session } = world.app("a");
    const onClosed = vi.spyOn(world.app("a"), "onClosed").mockReturnValue();
    if (state === "has ended") session.endSend({ status: "ok", trailers: {} });
    const outcome = { is: "unsendable", error: new Error("not allowed") } as const;
    session.onClosed(outcome, world.stream("a"));
    expect(onClosed).toHaveBeenCalledExactlyOnceWith(outcome, session);
    expect(() => session.write(0, new Uint8Array(1))).toThrow();
    expect(world.stream("a").refused).toBe(true);
    expect(world.ask("a", { attach: 2, opened: 5000 })).toBe("UNKNOWN");
  },
);

test("a full registry drops ends that wait to be confirmed, the oldest first, and nothing else", () => {
  const world = new RegistryWorld({ maxSessions: 3 });
  for (const id of ["a", "b", "c"]) expect(world.ask(id)).toBe("in");
  expect(world.ask("d")).toBe("ResourceExhausted");
  world.app("b").close();
  world.app("a").close();
  expect(world.ask("d")).toBe("in");
  expect(world.ask("a", { attach: 2 })).toBe("in");
  expect(world.ask("b", { attach: 2, opened: undefined })).toBe("UNKNOWN");
  expect(world.app("c").running).toBe(true);
});

test("a registry that is full of bytes drops ends that wait to be confirmed", () => {
  const world = new RegistryWorld({ maxSessions: 100, maxBytes: 100 });
  expect(world.ask("a")).toBe("in");
  world.app("a").send(1, 200);
  expect(world.registry.bytes).toBeGreaterThan(100);
  expect(world.ask("b")).toBe("ResourceExhausted");
  world.app("a").fail(failure(Code.Internal, "the handler threw"));
  expect(world.ask("b")).toBe("in");
  expect(world.registry.bytes).toBe(0);
});

test("a session counts for the connection of its last attachment, with its bytes", () => {
  const world = new RegistryWorld({ maxSessions: 100, maxBytes: 10_000 });
  const [one, two] = [{}, {}];
  const partyOf = (connection: object) => world.partyOf(connection);
  expect(world.ask("a", { connection: one })).toBe("in");
  world.app("a").send(1, 50);
  expect(partyOf(one).sessions.held).toBe(1);
  const bytes = partyOf(one).sessionBytes.held;
  expect(bytes).toBeGreaterThan(50);
  expect(world.ask("a", { attach: 2, connection: two })).toBe("in");
  expect(partyOf(one)).toMatchObject({ sessions: { held: 0 }, sessionBytes: { held: 0 } });
  expect(partyOf(two)).toMatchObject({ sessions: { held: 1 }, sessionBytes: { held: bytes } });
  expect(world.ask("a", { attach: 3, cancel: true, connection: two })).toBe("Canceled");
  expect(partyOf(two)).toMatchObject({ sessions: { held: 0 }, sessionBytes: { held: 0 } });
  expect(world.registry.bytes).toBe(0);
});

test("a caller whose sessions fill the server does not keep another out, and the refusal names its share", () => {
  const world = new RegistryWorld({ maxSessions: 90 });
  const refusals: string[] = [];
  for (let n = 0; n < 200; n++) {
    // On many connections, some of which get one more than the share of their caller.
    const answer = world.ask(`greedy ${n}`, { caller: "greedy", connection: { n } });
    if (answer !== "in") refusals.push(answer);
  }
  expect(world.registry.size).toBeLessThanOrEqual(85);
  expect(new Set(refusals)).toEqual(new Set(["ResourceExhausted"]));
  for (let n = 0; n < 5; n++) expect(world.ask(`mine ${n}`, { caller: "honest" })).toBe("in");
});

test("an end of another caller that waits for its confirmation is dropped only if nothing is left", () => {
  const world = new RegistryWorld({ maxSessions: 18 });
  expect(world.ask("theirs", { caller: "other", connection: {} })).toBe("in");
  world.app("theirs").fail(failure(Code.Internal, "the handler threw"));
  let begun = 0;
  while (world.ask(`mine ${begun}`) === "in") begun++;
  // The caller has its share, and the other's end is kept.
  expect(begun).toBeGreaterThan(10);
  expect(world.parties.limits.sessions.free).toBeGreaterThan(0);
  expect(world.ask("theirs", { attach: 2, caller: "other", connection: {} })).not.toBe("UNKNOWN");
});

test("an ended session that resumes from another address counts for that one", () => {
  const world = new RegistryWorld({ maxSessions: 100 });
  const [one, two] = [{}, {}];
  expect(world.ask("a", { caller: "first", connection: one })).toBe("in");
  world.app("a").fail(failure(Code.Internal, "the handler threw"));
  const before = world.partyOf(one, "first").caller.finishedSessions;
  expect([...before]).toEqual(["a"]);
  expect(world.ask("a", { attach: 2, caller: "second", connection: two })).toBe("in");
  expect([...before]).toEqual([]);
  expect([...world.partyOf(two, "second").caller.finishedSessions]).toEqual(["a"]);
});

test("callers that are gone take no memory", () => {
  const world = new RegistryWorld({ maxSessions: 1000 });
  const connections = Array.from({ length: 100 }, (_, n) => ({ n }));
  for (const connection of connections) {
    expect(world.ask(`${connection.n}`, { caller: `c${connection.n}`, connection })).toBe("in");
  }
  expect(world.parties.callers).toBe(100);
  for (const connection of connections) world.close(connection);
  // Their sessions may still be resumed.
  expect(world.parties.callers).toBe(100);
  for (const { n } of connections) world.app(`${n}`).session.expire();
  expect(world.parties.callers).toBe(0);
});

test("resumes past the rate of a second get UNAVAILABLE, and their sessions are kept until their turn", () => {
  const world = new RegistryWorld({ resumesPerSecond: 2 });
  for (const id of ["a", "b", "c"]) {
    world.ask(id);
    world.lose(id);
  }
  expect(["a", "b", "c"].map((id) => world.ask(id, { attach: 2 }))).toEqual([
    "in",
    "in",
    "Unavailable",
  ]);
  world.time.pass(GRACE_MS + 500);
  expect(world.app("c").running).toBe(true);
  expect(world.ask("c", { attach: 3 })).toBe("in");
});

test("a session whose client was asked to wait is kept until its turn, also if its loss is noticed only then", () => {
  const world = new RegistryWorld({ resumesPerSecond: 1 });
  for (const id of ["a", "b"]) world.ask(id);
  expect(["a", "b"].map((id) => world.ask(id, { attach: 2 }))).toEqual(["in", "Unavailable"]);
  world.lose("b");
  world.time.pass(GRACE_MS + 500);
  expect(world.app("b").running).toBe(true);
  expect(world.ask("b", { attach: 3 })).toBe("in");
  world.time.pass(10 * GRACE_MS);
  world.lose("b");
  world.time.pass(GRACE_MS + 1);
  expect(world.app("b").running).toBe(false);
});

test("a caller that resumes at a high rate does not postpone the resumes of another", () => {
  const world = new RegistryWorld({ maxSessions: 1000, resumesPerSecond: 90 });
  const greedy = { caller: "greedy", connection: {} };
  const ids = Array.from({ length: 100 }, (_, n) => `greedy ${n}`);
  for (const id of ids) expect(world.ask(id, greedy)).toBe("in");
  for (const id of ["one", "two"]) expect(world.ask(id)).toBe("in");
  const answers = ids.map((id) => world.ask(id, { ...greedy, attach: 2 }));
  expect(answers.filter((answer) => answer === "in")).toHaveLength(80);
  expect(answers.at(-1)).toBe("Unavailable");
  for (const id of ["one", "two"]) expect(world.ask(id, { attach: 2 })).toBe("in");
  world.time.pass(1000);
  expect(world.ask(ids.at(-1) as string, { ...greedy, attach: 3 })).toBe("in");
});

test("behind one address, a new connection resumes a session although others resume at a high rate", () => {
  const world = new RegistryWorld({ maxSessions: 10_000, resumesPerSecond: 90 });
  const greedy = { connection: {} };
  const ids = Array.from({ length: 100 }, (_, n) => `greedy ${n}`);
  for (const id of ids) world.ask(id, greedy);
  const resume = (id: string, connection: object) => world.ask(id, { connection, attach: 2 });
  expect(ids.filter((id) => resume(id, greedy.connection) === "in")).toHaveLength(80);
  const newcomers = Array.from({ length: 10 }, (_, n) => ({ id: `new ${n}`, connection: {} }));
  for (const { id } of newcomers) world.ask(id);
  // Each connection has its turn once in a second, and something remains for other callers.
  const [first] = newcomers;
  expect(newcomers.filter(({ id, connection }) => resume(id, connection) === "in")).toHaveLength(5);
  world.ask("another", { connection: first?.connection as object });
  expect(resume("another", first?.connection as object)).toBe("Unavailable");
  const other = { caller: "other", connection: {} };
  for (const id of ["one", "two"]) {
    expect(world.ask(id, other)).toBe("in");
    expect(world.ask(id, { ...other, attach: 2 })).toBe("in");
  }
});

test("close() ends all sessions that wait", () => {
  const world = new RegistryWorld();
  for (const id of ["a", "b"]) world.ask(id);
  world.lose("a");
  world.app("b").close();
  world.registry.close();
  expect(world.registry.size).toBe(0);
  expect(world.app("a").outcome.is).toBe("lost");
  expect(world.app("b").outcome.is).toBe("ended");
  expect(world.time.timers).toBe(0);
});
