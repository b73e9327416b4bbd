/** The rules of a simulated world, after each step and at its end. */
import { Code } from "@connectrpc/connect";
import { Reason, readSessionLost } from "../../src/session/lost.ts";
import type { Window } from "../../src/session/session-window.ts";
import type { SimClient, SimWorld } from "./session-sim.ts";
import { brief, CUSTOM, type SimApp } from "./session-sim-apps.ts";
import type { SimServed, SimServer } from "./session-sim-server.ts";

/** A message that was taken must be acknowledged within this time, in milliseconds. */
const ACKNOWLEDGED_MS = 50;

/** The memory that a kept message may take beside its bytes. */
const ENTRY_BYTES = 64;

/** The events of the world that allow an end that is not clean. */
export interface Excuses {
  /** Clients whose application cancelled. */
  readonly cancelled: Set<SimClient>;
  /** Clients whose first dial failed without ever having a connection. */
  readonly unreached: Set<SimClient>;
}

export class BrokenRule extends Error {
  override readonly name = "BrokenRule";
}

function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new BrokenRule(what);
}

/** The rules that hold at any time. */
export function checkAlways(world: SimWorld, excuses: Excuses): void {
  for (const server of world.servers) checkServer(world, server);
  for (const client of world.clients) {
    const runs = world.servers.flatMap(({ served }) => served.filter(({ id }) => id === client.id));
    must(runs.length <= 1, `the handler of ${client.id} ran ${runs.length} times`);
    checkPair(world, { client, served: runs[0] }, excuses);
  }
}

/** The rules that hold when the faults have stopped and enough time has passed. */
export function checkOver(world: SimWorld, excuses: Excuses): void {
  checkAlways(world, excuses);
  for (const client of world.clients) {
    const { app, id } = client;
    const served = world.servers.flatMap((server) => server.served).find((run) => run.id === id);
    must(!app.running, `${id} does not end: a deadlock`);
    must(!app.blocked, `the client of ${id} waits for the window after the end`);
    if (served !== undefined && !served.app.dead) {
      must(!served.app.running, `the handler of ${id} does not end`);
      must(!served.app.blocked, `the handler of ${id} waits for the window after the end`);
      must(served.over && served.app.closed, `the server keeps ${id}`);
    }
  }
  must(world.server.registry.size === 0, `${world.server.registry.size} sessions are kept`);
  must(world.server.registry.bytes === 0, `${world.server.registry.bytes} B are kept`);
  must(world.time.timers === 0, `${world.time.timers} timers are left`);
}

function checkServer(world: SimWorld, server: SimServer): void {
  let [atLeast, atMost] = [0, 0];
  for (const { app, over } of server.served) {
    if (over) continue;
    const { kept, held } = app;
    const holds = app.running ? held : { bytes: 0, messages: 0 };
    atLeast += kept.bytes + holds.bytes;
    atMost += kept.bytes + holds.bytes + (kept.messages + holds.messages) * ENTRY_BYTES;
  }
  const { bytes } = server.registry;
  if (!server.dead) {
    must(
      bytes >= atLeast && bytes <= atMost,
      `the account says ${bytes} B; kept and held are ${atLeast} to ${atMost} B`,
    );
  }
  const waits = server.served.filter(({ over, detachedMs }) => !over && detachedMs !== undefined);
  const lingers = world.attachments.filter(({ far, server: of }) => of === server && far?.lingers);
  // One for the sessions that wait for capacity, and one for those that end without it.
  const ofCapacity = mayEnd(world) ? 2 : 0;
  const timers = waits.length + lingers.length + ofCapacity + 1;
  must(server.clock.timers <= timers, `the server has ${server.clock.timers} timers`);
  for (const { id } of server.served) {
    const carriers = world.attachments.filter(
      ({ far, client }) => client.id === id && far?.carries === true,
    );
    must(carriers.length <= 1, `${carriers.length} attachments carry ${id} at the server`);
  }
}

/** A session at both ends; the server may not know it. */
interface Pair {
  readonly client: SimClient;
  readonly served: SimServed | undefined;
}

function checkPair(world: SimWorld, { client, served }: Pair, excuses: Excuses): void {
  const { id, app } = client;
  const theirs = served?.app;
  const window = widest(world);
  for (const one of [app, theirs]) {
    if (one === undefined) continue;
    must(one.bugs.length === 0, `${id}: ${one.bugs.join("; ")}`);
    checkMemory(id, one, window);
  }
  const open = world.attachments.filter(({ near, client: of }) => of === client && !near.over);
  const streams = open.filter(({ headers }) => headers["hawser-cancel"] === undefined);
  must(streams.length <= 1, `the client of ${id} has ${streams.length} streams`);
  checkPrefix(`${id}, client to server`, app.written, theirs?.got ?? []);
  checkPrefix(`${id}, server to client`, theirs?.written ?? [], app.got);
  if (theirs?.halfClosed) {
    must(app.hasClosed, `${id}: the handler was told of a half-close, and there was none`);
    must(theirs.got.length === app.written.length, `${id}: the half-close overtook messages`);
  }
  checkClientOutcome(world, { client, served }, excuses);
  if (served !== undefined) checkServerOutcome(world, { client, served }, excuses);
}

function checkClientOutcome(world: SimWorld, { client, served }: Pair, excuses: Excuses): void {
  const { app, id } = client;
  const { outcome } = app;
  must(app.running === (client.leaver !== undefined), `${id}: the transport keeps the session`);
  if (outcome.is === "running") {
    must(
      client.resumingMs !== undefined || isToldInTime(world, app),
      `the client of ${id} has not acknowledged in time`,
    );
  } else {
    const acknowledges = world.time.nowMs - app.tookMs <= 2 * ACKNOWLEDGED_MS ? 1 : 0;
    must(client.clock.timers <= acknowledges, `the client of ${id} has timers after the end`);
  }
  if (outcome.is === "cancelled") {
    must(excuses.cancelled.has(client), `${id} was cancelled`);
    mustTell(client);
  }
  if (outcome.is === "status") {
    must(served?.app.outcome.is === "ended", `${id} ended for the client only`);
    const { error } = served.app.outcome;
    const status = outcome.status === "ok" ? undefined : outcome.status;
    must(
      status?.rawMessage === error?.rawMessage && status?.code === error?.code,
      `${id} ended with ${brief(status)}; the handler's end was ${brief(error)}`,
    );
    must(app.got.length === served.app.written.length, `${id}: the end overtook messages`);
    must(app.head?.[CUSTOM.name] === CUSTOM.value, `${id}: the handler's headers are missing`);
    const own = [...Object.keys(app.head), ...Object.keys(app.trailer)].filter((name) =>
      name.startsWith("hawser-"),
    );
    must(own.length === 0, `${id}: the application sees ${own}`);
  }
  if (outcome.is !== "failed") return;
  const lost = readSessionLost(outcome.error);
  const said = `${id} failed: ${brief(outcome.error)}`;
  if (lost === undefined) {
    const { code } = outcome.error;
    if (code === Code.Canceled) {
      must(excuses.cancelled.has(client), said);
      mustTell(client);
      return;
    }
    must(
      (code === Code.Unavailable && excuses.unreached.has(client)) ||
        (code === Code.ResourceExhausted &&
          world.setup.limits !== undefined &&
          (app.head === undefined || mayEnd(world))) ||
        (code === Code.Aborted && served?.app.gaveUp === true),
      said,
    );
    return;
  }
  const arrived = served?.app.got.length ?? 0;
  must(Number(lost.arrived) <= arrived, `${said}, but ${arrived} did`);
  const gone = served === undefined || served.over || served.app.dead;
  const { graceMs, negotiatedInMs = 0 } = world.setup;
  const sinceMs = (fromMs: number | undefined) => world.time.nowMs - (fromMs ?? 0);
  const just: Partial<Record<Reason, boolean>> = {
    [Reason.UNREACHABLE]: client.resumingMs !== undefined && sinceMs(client.resumingMs) >= graceMs,
    [Reason.EXPIRED]: gone && sinceMs(client.openedMs) + negotiatedInMs + client.sleptMs >= graceMs,
    [Reason.UNKNOWN]: gone,
    [Reason.SERVER_RESTARTED]: world.servers.length > 1,
  };
  must(just[lost.reason] === true, said);
}

/** Checks that the server learned of the end, if it may know of the call. */
function mustTell({ id, hasSent, tells }: SimClient): void {
  must(!hasSent || tells === 1, `${id}: the server is not told`);
}

function checkServerOutcome(
  world: SimWorld,
  { client, served }: Pair & { served: SimServed },
  excuses: Excuses,
): void {
  const { app, id, detachedMs } = served;
  const { outcome } = app;
  if (app.running && detachedMs === undefined) {
    must(isToldInTime(world, app), `the handler of ${id} has not acknowledged in time`);
  }
  if (outcome.is === "ended" && detachedMs !== undefined && !app.dead) {
    must(app.closed, `the server keeps the call of ${id} after its end`);
  }
  if (outcome.is === "ended" && outcome.error !== undefined) {
    const { error } = outcome;
    must(readSessionLost(error)?.reason !== Reason.PROTOCOL_ERROR, `${id} ended: ${brief(error)}`);
  }
  if (outcome.is !== "lost") return;
  const said = `the handler of ${id} lost its call: ${brief(outcome.error)}`;
  const lost = readSessionLost(outcome.error);
  if (lost === undefined) {
    const over = excuses.cancelled.has(client) || client.app.outcome.is === "failed";
    const { code } = outcome.error;
    const isOverLimit = code === Code.ResourceExhausted && mayEnd(world);
    must(app.gaveUp || isOverLimit || (code === Code.Canceled && over), said);
    return;
  }
  must(Number(lost.arrived) <= client.app.taken, `${said}, but ${client.app.taken} were taken`);
  must(lost.reason === Reason.EXPIRED, said);
  const { graceMs } = world.setup;
  must(detachedMs !== undefined && world.time.nowMs - detachedMs >= graceMs, said);
}

/** Whether the server may end sessions because they hold too much. */
const mayEnd = ({ setup }: SimWorld) => setup.limits?.maxBytes !== undefined;

const isToldInTime = ({ time }: SimWorld, { owesSinceMs }: SimApp) =>
  owesSinceMs === undefined || time.nowMs - owesSinceMs <= ACKNOWLEDGED_MS;

/** Checks that neither side holds more than the window and one message. */
function checkMemory(id: string, app: SimApp, window: Window): void {
  for (const [name, { bytes, messages }, all] of [
    ["keeps", app.kept, app.written],
    ["holds", app.held, app.got],
  ] as const) {
    const last = all.at(-1)?.length ?? 0;
    must(
      messages <= window.messages && (messages === 0 || bytes - last < window.bytes),
      `a side of ${id} ${name} ${messages} messages of ${bytes} B`,
    );
  }
}

/** Exactly once, and in order. */
function checkPrefix(what: string, sent: readonly Uint8Array[], got: readonly Uint8Array[]): void {
  must(got.length <= sent.length, `${what}: ${got.length} messages came of ${sent.length}`);
  for (const [index, bytes] of got.entries()) {
    const same = Buffer.compare(bytes, sent[index] as Uint8Array) === 0;
    must(same, `${what}: message ${index + 1} is another`);
  }
}

/** The settings that the two sides can have agreed on, with any of the server processes. */
function widest({ setup, servers }: SimWorld): Window {
  const windows = servers.map(({ settings }) => settings.window);
  return {
    bytes: Math.min(setup.clientWindow.bytes, Math.max(...windows.map(({ bytes }) => bytes))),
    messages: Math.min(
      setup.clientWindow.messages,
      Math.max(...windows.map(({ messages }) => messages)),
    ),
  };
}
