/**
 * A network, servers and clients without sockets and without time of their
 * own: the core of sessions (src/session/) between applications and streams
 * that the test controls step by step.
 *
 *     ClientApp ─ ClientSession ─ SimClientStream ══ pipes ══ SimServerStream ─ ServerSession ─ ServerApp
 *                      │                                            │
 *                   SimClient (dials)                       SimServer (registry)
 */
import { Code } from "@connectrpc/connect";
import type { ClientStreamListener } from "../../src/call-stream.ts";
import { failure } from "../../src/failure.ts";
import { Acknowledgements } from "../../src/session/acknowledgements.ts";
import type {
  Dialler,
  OpenSession,
  SessionWatcher,
  SettingsWatcher,
  WaitingForConnection,
} from "../../src/session/attachment.ts";
import { ClientSession } from "../../src/session/client-session.ts";
import type { Window } from "../../src/session/session-window.ts";
import { ClientApp } from "./session-sim-apps.ts";
import { type FakeClock, FakeTime } from "./session-sim-clock.ts";
import { type ServerSetup, type SimRequest, SimServer } from "./session-sim-server.ts";
import { SimClientStream } from "./session-sim-streams.ts";
import { type Fields, type Item, Pipe } from "./session-sim-wire.ts";

export interface SimSetup extends ServerSetup {
  readonly graceMs: number;
  readonly clientWindow: Window;
  readonly serverWindow: Window;
  /** How much larger the windows of later server processes are, in bytes and messages. */
  readonly laterWindow?: Window;
  /** How long Negotiate's answer took: the client takes the server's clock as ahead by this time less. */
  readonly negotiatedInMs?: number;
  readonly clients?: number;
  readonly connecting?: Connecting;
}

/** Whether a connection opens immediately, or only when the test says so. */
export type Connecting = "immediately" | "later";

/** A stream, with what its two ends make of it. */
export interface SimAttachment extends SimRequest {
  readonly client: SimClient;
  readonly near: SimClientStream;
  /** The server process that it leads to. */
  readonly server: SimServer;
  /** Which side has been told that the stream was lost. */
  lostNear: boolean;
  lostFar: boolean;
}

/** A dial that waits for a connection: a session, or headers that are sent once. */
type Waiting = WaitingForConnection | Fields;

const isSession = (waiting: Waiting): waiting is WaitingForConnection => "onConnection" in waiting;

/** A client: one session, and how it gets its streams. */
export class SimClient implements Dialler, SessionWatcher {
  readonly id: string;
  readonly app = new ClientApp();
  readonly session: ClientSession;
  readonly clock: FakeClock;
  readonly #world: SimWorld;
  /** The session, while it may be asked to go. */
  leaver: OpenSession | undefined;
  /** How often it reported the end of the call. */
  tells = 0;
  /** The dials that wait for a connection. */
  readonly dialling: Waiting[] = [];
  connecting: Connecting;
  /** How often the session continued after a loss. */
  resumes = 0;
  /** Since when it looks for a stream. */
  resumingMs: number | undefined;
  /** When it first meant to send anything of the session. */
  openedMs: number | undefined;
  /** Whether it did. */
  hasSent = false;
  /** How often it asked the server for its settings again. */
  renegotiations = 0;
  /** How long its clock has stood still, in all. */
  sleptMs = 0;

  constructor(world: SimWorld, id: string) {
    const { clientWindow, graceMs, aheadMs = 0, negotiatedInMs = 0, random } = world.setup;
    this.#world = world;
    this.id = id;
    this.connecting = world.setup.connecting ?? "immediately";
    const clock = world.time.clock(0, random);
    this.clock = clock;
    const { epoch, window } = world.server.settings;
    this.session = new ClientSession({
      // A session that replaces another has its id, so that the rules see whether the handler runs for both.
      newId: () => id,
      server: { epoch, graceMs, window, clockAheadMs: aheadMs - negotiatedInMs },
      window: clientWindow,
      clock,
      acknowledgements: new Acknowledgements(clock),
      dialler: this,
      call: this.app,
      watcher: this,
    });
    this.app.session = this.session;
  }

  start(): void {
    this.session.start();
  }

  dial(waiting: Waiting): void {
    if (this.connecting === "later") this.dialling.push(waiting);
    else this.#open(waiting);
  }

  freshHeaders(): undefined {}

  unbind(): void {}

  renegotiate(sinceMs: number, watcher: SettingsWatcher): void {
    const { settings, clock } = this.#world.server;
    const { negotiatedInMs = 0 } = this.#world.setup;
    this.#world.log(`client ${this.id} asks again, for what it sent at its ${sinceMs} ms`);
    this.renegotiations++;
    this.openedMs = undefined;
    this.hasSent = false;
    const clockAheadMs = clock.now() - this.clock.now() - negotiatedInMs;
    watcher.onSettings({ ...settings, clockAheadMs });
  }

  /** Lets time pass while the clock of the sleeping machine stands still. */
  sleep(ms: number): void {
    this.#world.time.pass(ms);
    this.clock.fallBehind(ms);
    this.sleptMs += ms;
  }

  sendCancel(headers: Fields): void {
    this.tells++;
    this.dial(headers);
  }

  add(session: OpenSession): void {
    this.leaver = session;
  }

  remove(session: OpenSession): void {
    if (this.leaver === session) this.leaver = undefined;
  }

  /** The next dial gets its connection; fails before its stream is opened; or as it is. */
  connect(how: "well" | "fails" | "is lost"): void {
    const dialling = this.dialling.shift();
    if (dialling === undefined) return;
    if (how === "well") {
      this.#open(dialling);
      return;
    }
    this.#world.log(`dial of ${this.id} ${how}`);
    if (!isSession(dialling)) return;
    const error = failure(Code.Unavailable, "the connection was lost");
    if (how === "fails") dialling.onUnreachable(error);
    else if (dialling.isWanted) {
      dialling.onConnection(() => {
        this.openedMs ??= this.#world.time.nowMs;
        return undefined;
      });
      this.dial(dialling);
    }
  }

  #open(waiting: Waiting): void {
    if (!isSession(waiting)) this.#stream(waiting, undefined).endSend();
    else if (waiting.isWanted) {
      waiting.onConnection((headers, listener) => this.#stream(headers, listener));
    }
  }

  #stream(fields: Fields, listener: ClientStreamListener | undefined): SimClientStream {
    this.openedMs ??= this.#world.time.nowMs;
    this.hasSent = true;
    const late = listener !== undefined && !this.app.running;
    if (late) this.app.bugs.push("a stream was opened after the end");
    const number = Number(fields["hawser-attach"]);
    const near = new SimClientStream(fields, listener, this.app);
    const attachment: SimAttachment = {
      client: this,
      headers: fields,
      near,
      down: new Pipe(),
      server: this.#world.server,
      far: undefined,
      lostNear: false,
      lostFar: false,
    };
    this.#world.attachments.push(attachment);
    const cancels = fields["hawser-cancel"] === undefined ? "" : " to cancel";
    this.#world.log(`client opens ${number} of ${this.id}${cancels}`);
    return near;
  }

  onSessionState(state: "open" | "resuming"): void {
    this.#world.log(`client ${this.id} is ${state}`);
    if (state === "resuming") this.resumingMs ??= this.#world.time.nowMs;
    else {
      if (this.resumingMs !== undefined) this.resumes++;
      this.resumingMs = undefined;
    }
  }
}

const sum = (a: Window, b: Window): Window => ({
  bytes: a.bytes + b.bytes,
  messages: a.messages + b.messages,
});

/** The simulated world: clients, servers and the network. */
export class SimWorld {
  readonly setup: SimSetup;
  readonly time = new FakeTime();
  readonly attachments: SimAttachment[] = [];
  readonly clients: SimClient[] = [];
  readonly servers: SimServer[] = [];
  readonly trace: string[] = [];

  constructor(setup: SimSetup) {
    this.setup = setup;
    this.restart();
    for (let n = 0; n < (setup.clients ?? 1); n++) {
      this.clients.push(new SimClient(this, `${n + 1}`.padStart(32, "0")));
    }
  }

  /** The current server process. */
  get server(): SimServer {
    return this.servers[this.servers.length - 1] as SimServer;
  }

  log(line: string): void {
    this.trace.push(`${this.time.nowMs} ms: ${line}`);
  }

  /** Attachments on which something may still happen, the newest first. */
  get live(): SimAttachment[] {
    return this.attachments.filter(isLive).reverse();
  }

  deliver(attachment: SimAttachment, way: "up" | "down", units: number): void {
    const { near, down, server } = attachment;
    if (way === "down") {
      if (!attachment.lostNear) down.deliver(units, (item) => near.receive(item));
    } else if (!attachment.lostFar) {
      near.up.deliver(units, (item) => {
        if (item.is === "headers") server.accept(attachment);
        else this.#pass(attachment, item);
      });
    }
  }

  /** Delivers all items on the streams that are not stalled, and the items that follow from them, `rounds` times. */
  flow(rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      const busy = this.live.filter(({ near, down }) => near.up.waiting + down.waiting > 0);
      for (const attachment of this.live) {
        for (const way of ["up", "down"] as const) {
          const pipe = way === "up" ? attachment.near.up : attachment.down;
          if (!pipe.stalled) this.deliver(attachment, way, pipe.waiting);
        }
      }
      if (busy.length === 0 && round > 0) break;
    }
  }

  /** Tells one side that the stream was lost; bytes on their way to it are dropped. */
  lose(attachment: SimAttachment, side: "near" | "far"): void {
    if (side === "near" && !attachment.lostNear) {
      attachment.lostNear = true;
      attachment.down.lose();
      this.log(`client loses ${attachment.headers["hawser-attach"]}`);
      attachment.near.lost();
    } else if (side === "far" && !attachment.lostFar) {
      attachment.lostFar = true;
      attachment.near.up.lose();
      this.log(`server loses ${attachment.headers["hawser-attach"]}`);
      attachment.far?.lost();
    }
  }

  /** Kills the server process, and starts another in its place. */
  restart(): void {
    this.servers.at(-1)?.die();
    const { graceMs, serverWindow, laterWindow } = this.setup;
    const first = this.servers.length === 0;
    const window =
      first || laterWindow === undefined ? serverWindow : sum(serverWindow, laterWindow);
    const epoch = `${this.servers.length + 1}`.padStart(32, "e");
    this.servers.push(new SimServer(this, { epoch, graceMs, window }));
    this.log("the server starts");
    for (const attachment of this.live) {
      attachment.lostFar = true;
      attachment.near.up.lose();
      attachment.far?.die();
    }
  }

  #pass({ far }: SimAttachment, item: Item): void {
    far?.receive(item);
  }
}

function isLive({ lostNear, lostFar, near, far, down }: SimAttachment): boolean {
  const nearDone = lostNear || (near.over && near.ended);
  const farDone = lostFar || far?.closed === true;
  const quiet = near.up.waiting + down.waiting === 0;
  return !(nearDone && farDone) && !(quiet && nearDone && far === undefined);
}
