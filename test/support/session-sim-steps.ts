/** The events of a simulated world, as data that fast-check makes, shrinks and prints. */
import { Code } from "@connectrpc/connect";
import { failure } from "../../src/failure.ts";
import { Reason, readSessionLost, sessionLost } from "../../src/session/lost.ts";
import {
  type Connecting,
  type SimAttachment,
  type SimClient,
  type SimSetup,
  SimWorld,
} from "./session-sim.ts";
import type { ServerApp } from "./session-sim-apps.ts";
import { BrokenRule, checkAlways, checkOver, type Excuses } from "./session-sim-rules.ts";

/** `who` is one of the clients, `which` one of the live attachments from the newest on. */
export type Step =
  | { do: "send"; side: "client" | "server"; who: number; count: number; size: number }
  | { do: "take"; side: "client" | "server"; who: number; count: number }
  | { do: "deliver"; way: "up" | "down"; which: number; units: number }
  | { do: "flow"; rounds: number }
  /** Tells one side now and the other one later, or both at the same time. */
  | { do: "cut"; which: number; side: "near" | "far" | "both" }
  /** Cuts after `up` and `down` further bytes have arrived in their direction. */
  | { do: "cut at"; which: number; up: number; down: number }
  /** Tells the client; the bytes that it sent arrive late. */
  | { do: "delay"; which: number }
  | { do: "stall"; which: number; way: "up" | "down"; stalled: boolean }
  | { do: "half-close"; who: number }
  | { do: "respond"; who: number }
  | { do: "end"; who: number; how: "well" | "throws" | "passes on a loss" | "gives up" }
  | { do: "cancel"; who: number }
  /** The client's transport is closed. */
  | { do: "leave"; who: number }
  | { do: "time"; ms: number }
  /** The client's machine sleeps. */
  | { do: "sleep"; who: number; ms: number }
  | { do: "connecting"; who: number; how: Connecting }
  | { do: "connect"; who: number; how: "well" | "fails" | "is lost" }
  /** A proxy between client and server answers that it cannot reach the server. */
  | { do: "bad gateway"; which: number }
  | { do: "restart" };

/** The outcome of a run: how often each event happened. */
export type Tally = Record<string, number>;

/** Plays the steps, then lets the faults stop; throws a BrokenRule with the trace if a rule breaks. */
export async function play(setup: SimSetup, steps: readonly Step[]): Promise<Tally> {
  const world = new SimWorld(setup);
  const excuses: Excuses = { cancelled: new Set(), unreached: new Set() };
  try {
    for (const client of world.clients) client.start();
    for (const step of steps) {
      perform(world, step, excuses);
      await waiters();
      checkAlways(world, excuses);
    }
    await calm(world, excuses);
    checkOver(world, excuses);
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    throw new BrokenRule(`${what}\n${world.trace.slice(-60).join("\n")}`);
  }
  return talliedOf(world, excuses);
}

function talliedOf(world: SimWorld, { unreached }: Excuses): Tally {
  const tally: Tally = {};
  const count = (name: string, by = 1) => {
    tally[name] = (tally[name] ?? 0) + by;
  };
  for (const client of world.clients) {
    const { app, resumes } = client;
    const { outcome } = app;
    if (outcome.is !== "failed") count(outcome.is);
    else if (unreached.has(client)) count("unreached");
    else {
      const lost = readSessionLost(outcome.error);
      count(lost === undefined ? "failed" : String(Reason[lost.reason]));
    }
    if (resumes > 0) count("resumed");
    count("resumes", resumes);
    if (client.renegotiations > 0) count("renegotiated");
    count("responses", app.got.length);
    count("requests", servedBy(world, client)?.got.length ?? 0);
  }
  return tally;
}

/** Lets applications continue that waited for the window: they do so in microtasks. */
async function waiters(): Promise<void> {
  for (let n = 0; n < 4; n++) await null;
}

function perform(world: SimWorld, step: Step, excuses: Excuses): void {
  world.log(JSON.stringify(step));
  if ("who" in step) act(world, step, excuses);
  else if ("which" in step) disturb(world, step);
  else if (step.do === "flow") world.flow(step.rounds);
  else if (step.do === "time") world.time.pass(step.ms);
  else world.restart();
}

/** A step of an application, or of its process. */
function act(world: SimWorld, step: Extract<Step, { who: number }>, excuses: Excuses): void {
  const client = clientOf(world, step.who);
  const { app } = client;
  const handler = servedBy(world, client);
  if (step.do === "send") (step.side === "client" ? app : handler)?.send(step.count, step.size);
  else if (step.do === "take") {
    (step.side === "client" ? app : handler)?.take(step.count, world.time.nowMs);
  } else if (step.do === "half-close") app.close();
  else if (step.do === "respond") handler?.respond();
  else if (step.do === "end") endHandler(handler, step.how);
  else if (step.do === "connecting") client.connecting = step.how;
  else if (step.do === "connect") connect(client, step.how, excuses);
  else if (step.do === "sleep") client.sleep(step.ms);
  else {
    if (app.running) excuses.cancelled.add(client);
    if (step.do === "cancel") app.cancel();
    else client.leaver?.leave(failure(Code.Canceled, "the transport is closed"));
  }
}

function endHandler(handler: ServerApp | undefined, how: (Step & { do: "end" })["how"]): void {
  if (how === "well") handler?.close();
  else if (how === "throws") handler?.fail(failure(Code.Internal, "the handler threw"));
  else if (how === "passes on a loss") handler?.fail(sessionLost(Reason.EXPIRED, 1000));
  else if (handler?.running) handler.giveUp();
}

/** A step of an attachment. */
function disturb(world: SimWorld, step: Extract<Step, { which: number }>): void {
  const { live } = world;
  const attachment = live[step.which % Math.max(live.length, 1)];
  if (attachment === undefined) return;
  if (step.do === "deliver") world.deliver(attachment, step.way, step.units);
  else if (step.do === "stall") {
    (step.way === "up" ? attachment.near.up : attachment.down).stalled = step.stalled;
  } else if (step.do === "cut") cut(world, attachment, step.side);
  else if (step.do === "cut at") {
    world.deliver(attachment, "up", step.up);
    world.deliver(attachment, "down", step.down);
    cut(world, attachment, "both");
  } else if (step.do === "delay") {
    attachment.near.up.stalled = true;
    cut(world, attachment, "near");
  } else {
    attachment.near.receive({ is: "end", fields: { "grpc-status": "14" } });
    cut(world, attachment, "both");
  }
}

function cut(world: SimWorld, attachment: SimAttachment, side: "near" | "far" | "both"): void {
  if (side !== "near") world.lose(attachment, "far");
  if (side !== "far") world.lose(attachment, "near");
}

function connect(client: SimClient, how: "well" | "fails" | "is lost", excuses: Excuses): void {
  const first = client.openedMs === undefined && client.app.running;
  if (first && how === "fails" && client.dialling.length > 0) excuses.unreached.add(client);
  client.connect(how);
}

/**
 * The faults stop: all connects, all is delivered, each application does its
 * part, time passes. What an attachment that its client has lost still holds
 * arrives last, when the session has ended or waits for it without an end.
 */
async function calm(world: SimWorld, excuses: Excuses): Promise<void> {
  for (const attachment of world.attachments) {
    const { near, down, lostFar } = attachment;
    near.up.stalled = isStale(attachment);
    down.stalled = false;
    if (lostFar) world.lose(attachment, "near");
  }
  for (const client of world.clients) {
    client.connecting = "immediately";
    while (client.dialling.length > 0) client.connect("well");
    client.app.close();
  }
  await goOn(world, excuses, () => world.clients.every(({ app }) => !app.running));
  // The confirmation of the end arrives before, or a cancel.
  world.flow(3);
  for (const attachment of world.attachments.filter(isStale)) {
    attachment.near.up.stalled = false;
    world.deliver(attachment, "up", Number.POSITIVE_INFINITY);
    world.lose(attachment, "far");
    checkAlways(world, excuses);
  }
  await goOn(world, excuses, () => isOver(world));
}

const isStale = ({ lostNear, lostFar }: SimAttachment) => lostNear && !lostFar;

async function goOn(world: SimWorld, excuses: Excuses, isDone: () => boolean): Promise<void> {
  for (let round = 0; round < 2000 && !isDone(); round++) {
    world.flow(1);
    for (const client of world.clients) {
      client.app.take(Number.POSITIVE_INFINITY, world.time.nowMs);
      const app = servedBy(world, client);
      app?.take(Number.POSITIVE_INFINITY, world.time.nowMs);
      if (app?.halfClosed) app.close();
    }
    await waiters();
    checkAlways(world, excuses);
    // While all flows, little time passes; then as much as it takes.
    const flows = world.live.some((attachment) => !isStale(attachment));
    world.time.pass(flows ? 5 : Math.max(5, untilNext(world)));
  }
}

function isOver({ time, server, clients }: SimWorld): boolean {
  const running = clients.some(({ app }) => app.running);
  return !running && server.registry.size === 0 && time.timers === 0;
}

const untilNext = ({ time }: SimWorld): number => (time.nextMs ?? time.nowMs) - time.nowMs;

function clientOf({ clients }: SimWorld, who: number): SimClient {
  return clients[who % clients.length] as SimClient;
}

const servedBy = ({ server }: SimWorld, { id }: SimClient) => server.of(id)?.app;
