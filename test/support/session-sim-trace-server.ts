import type { ConnectError } from "@connectrpc/connect";
import type { HeaderList, Outcome, Received, ServerStreamListener } from "../../src/call-stream.ts";
import { toWire } from "../../src/failure.ts";
import { statusTrailers } from "../../src/grpc/status.ts";
import { type Ask, readAsk } from "../../src/session/headers.ts";
import { SessionRegistry } from "../../src/session/registry.ts";
import { ServerSession, type SessionKeeper } from "../../src/session/server-session.ts";
import { Parties, type Party, sharedLimits } from "../../src/sharing/parties.ts";
import { BASE } from "./session-sim-apps.ts";
import { type FakeClock, FakeTime } from "./session-sim-clock.ts";
import { notingEnd } from "./session-sim-keeper.ts";
import { asValues, SimServerStream } from "./session-sim-streams.ts";
import {
  drain,
  fromFailure,
  fromHex,
  type Side,
  type State,
  type Step,
  type Trace,
  toFailure,
  type Wire,
} from "./session-sim-trace.ts";
import { TraceApp } from "./session-sim-trace-app.ts";
import { type Fields, Pipe } from "./session-sim-wire.ts";

const peer = { address: undefined, isEncrypted: false, certificate: undefined, proxy: undefined };
const CONNECTED = { caller: { identity: "me", peer } };

/** A stream with the headers of an attachment; without a client end if it was refused. */
interface Stream {
  readonly down: Pipe;
  far: SimServerStream | undefined;
}

const METHODS = new Map<string, object>();

/** Returns the same object each time for a name. */
function methodOf(name: string): object {
  const method = METHODS.get(name) ?? {};
  METHODS.set(name, method);
  return method;
}

/** The server's side of a trace: all of its sessions are of one id, and of one handler. */
export class ServerSide implements Side, ServerStreamListener {
  readonly wire: Wire[] = [];
  readonly #app = new TraceApp();
  readonly app = this.#app.heard;
  readonly #time = new FakeTime();
  readonly #clock: FakeClock;
  readonly #registry: SessionRegistry;
  readonly #streams: Stream[] = [];
  readonly #party: Party;
  #session: ServerSession | undefined;
  #carrier: SimServerStream | undefined;
  #over = false;
  #headersSent = false;
  #acknowledged = 0;

  constructor({ epoch, graceMs, window, nowMs, limits }: NonNullable<Trace["server"]>) {
    this.#clock = this.#time.clock(nowMs);
    const all = {
      maxSessions: 10,
      maxBytes: 1_000_000,
      resumesPerSecond: 10,
      ...limits,
    };
    const parties = new Parties(sharedLimits({ maxOpenCalls: 1, ...all }));
    this.#party = parties.of(CONNECTED, CONNECTED.caller);
    const shared = { limits: all, parties };
    this.#registry = new SessionRegistry({ epoch, graceMs, window }, shared, this.#clock);
  }

  get state(): State {
    const attached = this.#carrier?.closed === false;
    return {
      link: this.#over ? "over" : attached ? "attached" : "detached",
      sent: this.#app.sent,
      received: this.#app.received,
      acknowledged: this.#acknowledged,
      full: this.#app.isFull,
    };
  }

  async happen(event: Step["in"]): Promise<void> {
    if ("app" in event) this.#act(event);
    else if ("time" in event) this.#time.pass(event.time);
    else if ("stream" in event) this.#receive(event);
    else throw new Error("nothing that happens to a server");
    for (let n = 0; n < 4; n++) await null;
    for (const [at, { down }] of this.#streams.entries()) this.wire.push(...drain(down, at + 1));
  }

  #act(event: Extract<Step["in"], { app: string }>): void {
    const session = this.#session as ServerSession;
    switch (event.app) {
      case "send":
        this.#sendHeaders({ ...BASE, "x-handler": "here" });
        this.#app.send(session, event);
        break;
      case "take":
        this.#app.take(session);
        break;
      case "respond":
        this.#sendHeaders({ ...BASE, ...event.headers });
        break;
      case "end":
        this.#finish(undefined);
        break;
      case "fail":
        this.#finish(fromFailure(event));
        break;
      default:
        throw new Error(`a handler does not ${event.app}`);
    }
  }

  /** Sends the handler's headers once, at the latest before its first message. */
  #sendHeaders(headers: HeaderList): void {
    if (this.#headersSent) return;
    this.#headersSent = true;
    this.#session?.sendHeaders(headers);
  }

  /** Ends a call as server-call.ts does. */
  #finish(error: ConnectError | undefined): void {
    const trailers = statusTrailers(error, undefined) as HeaderList;
    this.#session?.endSend({ status: error ?? "ok", trailers });
  }

  #receive(event: Extract<Step["in"], { stream: number }>): void {
    if ("gone" in event) {
      this.#streams[event.stream - 1]?.far?.lost();
      return;
    }
    if (event.headers !== undefined) this.#accept(event);
    const far = this.#streams[event.stream - 1]?.far;
    if (event.frames !== undefined) {
      far?.receive({ is: "data", bytes: fromHex(event.frames.join("")) });
    }
    if (event.end) far?.receive({ is: "end", fields: {} });
    if (event.reset) far?.receive({ is: "reset" });
  }

  /** Accepts or refuses a stream as server-sessions.ts does. */
  #accept({ headers, caller = "me", method = "Chat" }: Step["in"] & Wire): void {
    const stream: Stream = { down: new Pipe(), far: undefined };
    this.#streams.push(stream);
    try {
      const ask = readAsk(asValues(headers as Fields));
      const refusal = this.#registry.admit({
        ask,
        caller,
        method: methodOf(method),
        connection: this,
        party: this.#party,
        open: (session) => this.#open(stream, session),
        create: (keeper) => this.#create(keeper, ask),
        start: () => this.app.push({ started: true }),
      });
      if (refusal !== undefined) refuse(stream, refusal);
    } catch (error) {
      refuse(stream, toWire(error));
    }
  }

  #open(stream: Stream, session: ServerSession): SimServerStream {
    stream.far = new SimServerStream(stream.down, session, this.#clock, {
      onTold() {},
      onAcknowledged: (count) => {
        if (this.#carrier === stream.far) {
          this.#acknowledged = Math.max(this.#acknowledged, Math.min(count, this.#app.sent));
        }
      },
    });
    this.#carrier = stream.far;
    return stream.far;
  }

  #create(keeper: SessionKeeper, ask: Ask): ServerSession {
    const listening = notingEnd(keeper, () => {
      this.#over = true;
    });
    this.#session = new ServerSession(
      { keeper: listening, account: this.#party.sessionBytes, ask, head: BASE },
      this,
    );
    return this.#session;
  }

  // Events of the handler.

  onMessage(message: Received): void {
    this.#app.onMessage(message);
  }

  onHalfClose(): void {
    this.app.push({ halfClosed: true });
  }

  onInvalid(error: ConnectError): void {
    this.app.push({ failed: toFailure(error) });
    this.#finish(error);
  }

  onClosed(outcome: Outcome): void {
    if (outcome.is === "ended") return;
    this.app.push({ failed: toFailure(outcome.error as ConnectError) });
  }
}

function refuse({ down }: Stream, error: ConnectError): void {
  down.put({ is: "end", fields: statusTrailers(error, undefined) as Fields });
}
