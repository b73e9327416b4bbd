/** The changes that the attachments of a session make at either end; an earlier attachment must not change anything. */
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { failure } from "../src/failure.ts";
import { Acknowledgements } from "../src/session/acknowledgements.ts";
import type { BegunCall, WaitingForConnection } from "../src/session/attachment.ts";
import { ClientSession } from "../src/session/client-session.ts";
import { frame, GRACE_MS, RegistryWorld, WINDOW } from "./support/registry-world.ts";
import { ClientApp } from "./support/session-sim-apps.ts";
import { FakeTime } from "./support/session-sim-clock.ts";
import { SimClientStream } from "./support/session-sim-streams.ts";
import type { Fields } from "./support/session-sim-wire.ts";

/** A client whose dials the test answers. */
function client(continueWithout?: (begun: BegunCall) => void) {
  const time = new FakeTime();
  const dials: WaitingForConnection[] = [];
  const cancels: Fields[] = [];
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
      sendCancel: (headers) => void cancels.push(headers),
      freshHeaders: () => undefined,
      unbind() {},
      add() {},
      remove() {},
    },
    call: app,
    watcher: undefined,
    continueWithout,
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
  return { time, app, dials, cancels, open };
}

const ANSWER = {
  "hawser-session": "resumed",
  "hawser-epoch": "f".repeat(32),
  "hawser-received": "0",
  "hawser-window": "100,10",
};

test("the client ignores whatever an earlier attachment brings", () => {
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

test("the server ignores whatever an earlier attachment brings", () => {
  const world = new RegistryWorld();
  expect(world.ask("a")).toBe("in");
  const first = world.stream("a");
  const app = world.app("a");
  const { session } = app;
  session.onMessage(frame("a"), first);
  for (const late of [() => world.lose("a"), () => world.ask("a", { attach: 2 })]) {
    late();
    session.onMessage(frame("b"), first);
    session.onHalfClose(true, first);
    session.onHalfClose(false, first);
    session.onInvalid(failure(Code.Internal, "no gRPC"), first);
    session.onClosed({ is: "unsendable", error: new Error("no headers") }, first);
    expect(app.got.map((bytes) => Buffer.from(bytes).toString())).toEqual(["a"]);
    expect(app.running && !app.halfClosed).toBe(true);
  }
  session.onMessage(frame("c"), world.stream("a"));
  expect(app.got).toHaveLength(2);
});

test("a call whose first connection closes before its stream is opened begins on the second", () => {
  const { app, dials, open } = client();
  app.send(1, 3);
  expect(dials[0]?.onConnection(() => undefined)).toBe(false);
  expect(app.written).toHaveLength(0);
  const stream = open(0);
  expect(app.written).toHaveLength(1);
  app.session.onHeaders({ ...ANSWER, "hawser-session": "new" }, stream);
  expect(stream.up.waiting).toBeGreaterThan(0);
});

test("a call that ends before it has a connection opens no stream, and sends no cancel", () => {
  const { app, dials, cancels } = client();
  expect(dials[0]?.isWanted).toBe(true);
  app.cancel();
  expect(dials[0]?.isWanted).toBe(false);
  expect(cancels).toEqual([]);
});

test("a call that ends while it looks for a connection opens no stream, and sends a cancel with the next attachment number", () => {
  const { app, dials, cancels, open } = client();
  open(0).lost();
  expect(dials[1]?.isWanted).toBe(true);
  app.cancel();
  expect(dials[1]?.isWanted).toBe(false);
  expect(cancels).toMatchObject([{ "hawser-attach": "2", "hawser-cancel": "1" }]);
});

const FULL = {
  is: "ended",
  status: failure(Code.ResourceExhausted, "no more sessions"),
  trailers: { "hawser-session": "full" },
} as const;

test("a call whose attachment 1 was refused because the server is full continues without a session, and the session calls nothing", () => {
  const begun: BegunCall[] = [];
  const { app, time, cancels, open } = client((call) => begun.push(call));
  const stream = open(0);
  app.send(1, 3);
  app.session.onClosed(FULL, stream);
  expect(begun.map(({ sent, hasHalfClosed }) => [sent.messages, hasHalfClosed])).toEqual([
    [1, false],
  ]);
  app.session.onClosed(FULL, stream);
  app.session.onMessage(frame("a"), stream);
  expect({ running: app.running, got: app.got, cancels }).toEqual({
    running: true,
    got: [],
    cancels: [],
  });
  expect(time.timers).toBe(0);
});

test("a refusal of attachment 2 because the server is full ends the call: attachment 1 may still start the session", () => {
  const { app, cancels, open } = client(() => expect.unreachable("the handler may run"));
  open(0).lost();
  app.session.onClosed(FULL, open(1));
  expect(app.running).toBe(false);
  expect(app.outcome).toMatchObject({ error: { code: Code.ResourceExhausted } });
  expect(cancels).toEqual([]);
});

test("a refusal because of another limit, and one after an answer, end the call", () => {
  for (const answers of [false, true]) {
    const { app, open } = client(() => expect.unreachable("the server may know the session"));
    const stream = open(0);
    if (answers) app.session.onHeaders({ ...ANSWER, "hawser-session": "new" }, stream);
    app.session.onClosed({ ...FULL, trailers: answers ? FULL.trailers : {} }, stream);
    expect(app.outcome).toMatchObject({ error: { code: Code.ResourceExhausted } });
  }
});
