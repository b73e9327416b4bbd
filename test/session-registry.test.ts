/** Which sessions a server has, what it forgets of them, and what must never begin twice. */
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { Received } from "../src/call-stream.ts";
import { failure } from "../src/failure.ts";
import { Acknowledgements } from "../src/session/acknowledgements.ts";
import type { Dialling, ServerAttachment } from "../src/session/attachment.ts";
import { ClientSession } from "../src/session/client-session.ts";
import { Reason, readSessionLost } from "../src/session/lost.ts";
import { type SessionLimits, SessionRegistry } from "../src/session/registry.ts";
import { ServerSession } from "../src/session/server-session.ts";
import { TOMBSTONES_PER_CONNECTION } from "../src/session/tombstones.ts";
import { BASE, ClientApp, ServerApp } from "./support/session-sim-apps.ts";
import { FakeTime } from "./support/session-sim-clock.ts";
import { SimClientStream } from "./support/session-sim-streams.ts";
import type { Fields } from "./support/session-sim-wire.ts";

const GRACE_MS = 1000;
const WINDOW = { bytes: 100, messages: 10 };
const METHOD = {};
/** The server's clock at the start. */
const START_MS = 5000;

const FAR = Number.MAX_SAFE_INTEGER;

/** A stream that says nothing. */
class Mute implements ServerAttachment {
  refused = false;
  readonly announcedHeaderBytes = 65_536;
  readonly ownTrailerBytes = 0;
  sendHeaders(): void {}
  pull(): undefined {}
  write(): undefined {}
  taken(): void {}
  flush(): void {}
  endSend(): void {}
  refuse(): void {
    this.refused = true;
  }
  release(): void {}
  reset(): void {}
}

interface Asking {
  attach?: number;
  opened?: number | undefined;
  epoch?: string;
  cancel?: boolean;
  received?: number;
  connection?: object;
}

class House {
  readonly time = new FakeTime();
  readonly registry: SessionRegistry;
  readonly runs: { id: string; app: ServerApp }[] = [];
  readonly #streams = new Map<string, Mute>();

  constructor(limits: Partial<SessionLimits> = {}) {
    const all = { maxSessions: 3, maxBytes: 1000, maxPerConnection: 100, resumesPerSecond: 100 };
    const settings = { epoch: "here", graceMs: GRACE_MS, window: WINDOW };
    this.registry = new SessionRegistry(settings, { ...all, ...limits }, this.time.clock(START_MS));
  }

  /** An attachment asks to be let in: "in", or why not. */
  ask(session: string, asking: Asking = {}): string {
    const { attach = 1, epoch = "here", cancel = false, received = 0, connection = this } = asking;
    const openedMs = "opened" in asking ? asking.opened : START_MS + this.time.nowMs;
    const refusal = this.registry.admit({
      ask: { session, attach, received, window: WINDOW, epoch, openedMs, cancel },
      method: METHOD,
      caller: "me",
      connection,
      open: () => {
        const stream = new Mute();
        this.#streams.set(session, stream);
        return stream;
      },
      create: (keeper) => {
        const app = new ServerApp();
        const ask = { session, attach, received, window: WINDOW, epoch, openedMs, cancel };
        app.session = new ServerSession({ keeper, ask, head: BASE }, app);
        this.runs.push({ id: session, app });
        return app.session;
      },
      start() {},
    });
    if (refusal === undefined) return "in";
    const lost = readSessionLost(refusal);
    return lost === undefined ? (Code[refusal.code] ?? "?") : (Reason[lost.reason] ?? "?");
  }

  /** The last stream of a session. */
  stream(id: string): Mute {
    return this.#streams.get(id) as Mute;
  }

  /** That is gone. */
  lose(id: string): void {
    const error = failure(Code.Canceled, "the connection to the client was lost");
    const outcome = { is: "lost", error, unprocessed: false } as const;
    this.app(id).session.onClosed(outcome, this.stream(id));
  }

  app(id: string): ServerApp {
    return this.runs.findLast((run) => run.id === id)?.app as ServerApp;
  }

  runsOf(id: string): number {
    return this.runs.filter((run) => run.id === id).length;
  }
}

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

/** A client whose dials the test answers. */
function client() {
  const time = new FakeTime();
  const dials: Dialling[] = [];
  const told: Fields[] = [];
  const app = new ClientApp();
  const clock = time.clock();
  app.session = new ClientSession({
    newId: () => "0".repeat(32),
    server: { epoch: "f".repeat(32), graceMs: GRACE_MS, window: WINDOW, clockAheadMs: 5000 },
    window: WINDOW,
    clock,
    acknowledgements: new Acknowledgements(clock),
    dialler: {
      dial: (session) => void dials.push(session),
      renegotiate: () => expect.unreachable("the server said nothing of EXPIRED"),
      tell: (headers) => void told.push(headers),
      unbind() {},
      add() {},
      remove() {},
    },
    call: app,
    watcher: undefined,
  });
  app.session.start();
  const open = (at: number) => {
    let stream!: SimClientStream;
    dials[at]?.onConnection((headers, listener) => {
      stream = new SimClientStream(headers, listener, app);
      return stream;
    });
    return stream;
  };
  return { time, app, dials, told, open };
}

const frame = (text: string): Received => {
  const bytes = Buffer.from(text);
  return { flags: 0, bytes, start: 0, end: bytes.length };
};

const ANSWER = {
  "hawser-session": "resumed",
  "hawser-epoch": "f".repeat(32),
  "hawser-received": "0",
  "hawser-window": "100,10",
};
test("what an earlier attachment brings is nothing to the client, whatever it is", () => {
  const { app, open } = client();
  const { session } = app;
  const first = open(0);
  session.onHeaders({ ...ANSWER, "hawser-session": "new" }, first);
  session.onMessage(frame("a"), first);
  first.lost();
  for (const late of [() => {}, () => session.onHeaders(ANSWER, open(1))]) {
    late();
    session.onMessage(frame("b"), first);
    session.onHeaders({ ...ANSWER, "hawser-received": "7" }, first);
    session.onClosed({ is: "ended", status: "ok", trailers: { "hawser-sent": "1" } }, first);
    session.onInvalid(failure(Code.Internal, "no gRPC"), first);
    expect(app.got.map((bytes) => Buffer.from(bytes).toString())).toEqual(["a"]);
    expect(app.running).toBe(true);
  }
});

test("what an earlier attachment brings is nothing to the server, whatever it is", () => {
  const house = new House();
  expect(house.ask("a")).toBe("in");
  const first = house.stream("a");
  const app = house.app("a");
  const { session } = app;
  session.onMessage(frame("a"), first);
  for (const late of [() => house.lose("a"), () => house.ask("a", { attach: 2 })]) {
    late();
    session.onMessage(frame("b"), first);
    session.onHalfClose(true, first);
    session.onHalfClose(false, first);
    session.onInvalid(failure(Code.Internal, "no gRPC"), first);
    session.onClosed({ is: "unsendable", error: new Error("no headers") }, first);
    expect(app.got.map((bytes) => Buffer.from(bytes).toString())).toEqual(["a"]);
    expect(app.running && !app.halfClosed).toBe(true);
  }
  session.onMessage(frame("c"), house.stream("a"));
  expect(app.got).toHaveLength(2);
});

test("a call whose first connection goes away before its stream is opened begins on the second", () => {
  const { app, dials, open } = client();
  app.send(1, 3);
  expect(dials[0]?.onConnection(() => undefined)).toBe(false);
  expect(app.written).toHaveLength(0);
  const stream = open(0);
  expect(app.written).toHaveLength(1);
  app.session.onHeaders({ ...ANSWER, "hawser-session": "new" }, stream);
  stream.outbox.flush();
  expect(stream.up.waiting).toBeGreaterThan(0);
});

test("a call that ends before its connection is there opens no stream, and tells nobody", () => {
  const { app, dials, told } = client();
  expect(dials[0]?.isWanted).toBe(true);
  app.cancel();
  expect(dials[0]?.isWanted).toBe(false);
  expect(told).toEqual([]);
});

test("a call that ends while it looks for a connection opens no stream, and tells the server by the next number", () => {
  const { app, dials, told, open } = client();
  open(0).lost();
  expect(dials[1]?.isWanted).toBe(true);
  app.cancel();
  expect(dials[1]?.isWanted).toBe(false);
  expect(told).toMatchObject([{ "hawser-attach": "2", "hawser-cancel": "1" }]);
});
