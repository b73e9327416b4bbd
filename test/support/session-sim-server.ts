/** A server process between simulated streams and its applications: as server-sessions.ts, without sockets. */
import type { ConnectError } from "@connectrpc/connect";
import { toWire } from "../../src/failure.ts";
import { statusTrailers } from "../../src/grpc/status.ts";
import { type Ask, readAsk } from "../../src/session/headers.ts";
import { type SessionLimits, SessionRegistry } from "../../src/session/registry.ts";
import { ServerSession, type ServerSessionInit } from "../../src/session/server-session.ts";
import type { SessionSettings } from "../../src/session/settings.ts";
import { Parties, sharedLimits } from "../../src/sharing/parties.ts";
import { BASE, brief, ServerApp } from "./session-sim-apps.ts";
import type { FakeClock, FakeTime } from "./session-sim-clock.ts";
import { notingEnd } from "./session-sim-keeper.ts";
import { asValues, type Counts, SimServerStream } from "./session-sim-streams.ts";
import type { Fields, Pipe } from "./session-sim-wire.ts";

const peer = { address: undefined, isEncrypted: false, certificate: undefined, proxy: undefined };
const CONNECTED = { caller: { identity: "me", peer } };

export interface ServerSetup {
  readonly limits?: Partial<SessionLimits>;
  /** How much the server's clock is ahead of the client's. */
  readonly aheadMs?: number;
  /** The random numbers of both sides. */
  readonly random?: () => number;
}

/** The parts of the world that a server process needs. */
export interface ServerWorld {
  readonly setup: ServerSetup;
  readonly time: FakeTime;
  log(line: string): void;
}

/** A stream that asks for a session, as its server sees it. */
export interface SimRequest {
  readonly headers: Fields;
  readonly down: Pipe;
  /** The attachment's server end, if the server accepted it. */
  far: SimServerStream | undefined;
}

/** The method that all sessions call. */
const METHOD = {};

/** A session of a server, as the test sees it. */
export interface SimServed {
  readonly id: string;
  readonly app: ServerApp;
  /** The newest attachment that was accepted. */
  number: number;
  carrier: SimServerStream | undefined;
  /** Since when it has no attachment. */
  detachedMs: number | undefined;
  over: boolean;
}

/** A server process. */
export class SimServer {
  readonly settings: SessionSettings;
  readonly clock: FakeClock;
  readonly registry: SessionRegistry;
  /** All sessions that it ever had: an id twice would be a second run of the handler. */
  readonly served: SimServed[] = [];
  readonly #world: ServerWorld;
  dead = false;
  readonly #parties: Parties;
  /** The sessions whose cancel has arrived. */
  readonly #cancelled = new Set<string>();

  constructor(world: ServerWorld, settings: SessionSettings) {
    const { limits, aheadMs, random } = world.setup;
    this.#world = world;
    this.settings = settings;
    this.clock = world.time.clock(aheadMs, random);
    const usual = {
      maxSessions: 1000,
      maxBytes: 1e9,
      resumesPerSecond: 1000,
    };
    const all = { ...usual, ...limits };
    this.#parties = new Parties(sharedLimits({ maxOpenCalls: 1, ...all }));
    const shared = { limits: all, parties: this.#parties };
    this.registry = new SessionRegistry(settings, shared, this.clock);
  }

  of(id: string): SimServed | undefined {
    return this.served.findLast((served) => served.id === id);
  }

  /** Accepts or refuses a request, as ServerSessions.accept() of server-sessions.ts does. */
  accept(request: SimRequest): void {
    const { headers, down } = request;
    try {
      const ask = readAsk(asValues(headers));
      const party = this.#parties.of(CONNECTED, CONNECTED.caller);
      const refusal = this.registry.admit({
        ask,
        method: METHOD,
        caller: "me",
        connection: request,
        party,
        open: (session) => this.#open(request, session, ask),
        create: (keeper) => this.#create({ keeper, account: party.sessionBytes, ask }),
        start: () => {},
      });
      if (refusal !== undefined) this.#refuse(request, refusal);
      if (!ask.cancel) return;
      this.#cancelled.add(ask.session);
      const app = this.of(ask.session)?.app;
      if (app?.running) app.bugs.push("the handler is not told of the cancel");
    } catch (error) {
      down.put({ is: "end", fields: statusTrailers(toWire(error), undefined) as Fields });
    }
  }

  /** Kills the process. */
  die(): void {
    this.dead = true;
    this.clock.die();
    for (const { app } of this.served) app.dead = true;
  }

  #refuse({ headers, down }: SimRequest, refusal: ConnectError): void {
    const { "hawser-attach": number, "hawser-session": id } = headers;
    this.#world.log(`server refuses ${number} of ${id}: ${brief(refusal)}`);
    down.put({ is: "end", fields: statusTrailers(refusal, undefined) as Fields });
  }

  #create({ keeper, account, ask }: Omit<ServerSessionInit, "head">): ServerSession {
    const app = new ServerApp();
    const served: SimServed = {
      id: ask.session,
      app,
      number: 0,
      carrier: undefined,
      detachedMs: undefined,
      over: false,
    };
    this.served.push(served);
    if (this.#cancelled.has(ask.session)) app.bugs.push("it began after its cancel");
    const listening = notingEnd(keeper, () => {
      served.over = true;
    });
    app.session = new ServerSession({ keeper: listening, account, ask, head: BASE }, app);
    this.#world.log(`server starts ${ask.session}`);
    return app.session;
  }

  #open(request: SimRequest, session: ServerSession, ask: Ask): SimServerStream {
    const { session: id, attach: number } = ask;
    const served = this.of(id) as SimServed;
    served.number = number;
    served.detachedMs = undefined;
    const { app } = served;
    const counts: Counts = {
      onTold: (count) => app.onTold(count),
      onAcknowledged(count) {
        if (served.number === number && !served.over) app.onAcknowledged(count);
      },
    };
    const far = new SimServerStream(request.down, session, this.clock, counts);
    far.onLost = () => {
      if (served.number === number) served.detachedMs ??= this.#world.time.nowMs;
    };
    served.carrier = far;
    request.far = far;
    this.#world.log(`server lets in ${number} of ${id}`);
    return far;
  }
}
