import { Code, type ConnectError } from "@connectrpc/connect";
import { failure, peerFailure } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import type { Parties, Party } from "../sharing/parties.ts";
import { overLimit } from "../sharing/refusal.ts";
import type { SharedLimit } from "../sharing/shared-limit.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import type { ServerAttachment } from "./attachment.ts";
import type { Credentials } from "./credential-watch.ts";
import type { Ask } from "./headers.ts";
import { Reason, sessionLost } from "./lost.ts";
import { ResumePace } from "./resume-pace.ts";
import type { ServerSession, SessionKeeper } from "./server-session.ts";
import { SessionCapacity } from "./session-capacity.ts";
import type { SessionSettings } from "./settings.ts";
import { judgeUnknown } from "./state.ts";
import { TOMBSTONES_PER_CONNECTION, Tombstones } from "./tombstones.ts";

/** The limits of the sessions of one server. */
export interface SessionLimits {
  /**
   * The most sessions that the server keeps; above it no session begins. A caller may have 8 times as many as are free,
   * so alone 8/9 of them. Default: 25 000.
   */
  readonly maxSessions: number;
  /**
   * The most bytes that all sessions keep together; above it no session begins. Shared likewise: what the handlers of a caller
   * send waits while its sessions hold more than it may. If what clients have sent, and no handler has taken, exceeds it
   * nevertheless, sessions end with RESOURCE_EXHAUSTED: of the caller that holds most first those without a connection, then
   * the others, the largest first. Default: 256 MiB.
   */
  readonly maxBytes: number;
  /**
   * The most sessions that are resumed in a second; clients of further ones are asked to try again later. Shared
   * likewise: a caller alone may resume 8/9 of them. Default: 2000.
   */
  readonly resumesPerSecond: number;
}

/** An attachment that a client asks for. */
export interface Arrival {
  readonly ask: Ask;
  /** The method and the authenticated caller: both must be those of the session. */
  readonly method: object;
  readonly caller: string;
  /** Stands for the connection of the client: an object that the session may keep when the connection is closed. */
  readonly connection: object;
  /** The caller on this connection, as the limits count it. */
  readonly party: Party;
  /** Undefined if they do not expire. */
  readonly credentials?: Credentials | undefined;
  /** Opens the stream of the attachment. */
  open(session: ServerSession): ServerAttachment;
  /** Makes a session and its call. */
  create(keeper: SessionKeeper): ServerSession;
  /** Runs the handler, after the first attach(). */
  start(): void;
}

/** Sessions are ended until no more than this part of maxBytes is held, so that the next ones do not end at once. */
const RELIEVED = 7 / 8;

/** The error of an attachment that would begin a session while the server closes. */
export const DRAINING = failure(Code.Unavailable, "the server is closing: no session begins here");

const LOOKS_OLD =
  "by hawser-opened and the server's clock it began longer ago than the server's grace; Negotiate says what that clock is";

interface Entry {
  readonly session: ServerSession;
  readonly method: object;
  readonly caller: string;
  readonly openedMs: number;
  connection: object;
  party: Party;
  last: number;
  /** Whether an attachment with a lower number may still arrive. */
  skipped: boolean;
}

/** The sessions of a server. Admits attachments by identity, by caller and by the limits. */
export class SessionRegistry implements SessionKeeper {
  readonly settings: SessionSettings;
  readonly clock: Clock;
  readonly acknowledgements: Acknowledgements;
  readonly capacity: SessionCapacity;
  readonly #parties: Parties;
  readonly #entries = new Map<string, Entry>();
  readonly #finished = new Set<string>();
  readonly #tombstones: Tombstones;
  readonly pace: ResumePace;
  /** Called when the last session has ended; `undefined` while sessions may begin. */
  #onEmpty: (() => void) | undefined;

  constructor(
    settings: SessionSettings,
    { limits, parties }: { limits: SessionLimits; parties: Parties },
    clock: Clock,
  ) {
    this.settings = settings;
    this.pace = new ResumePace(limits.resumesPerSecond, clock);
    this.#parties = parties;
    this.clock = clock;
    this.#tombstones = new Tombstones(Math.max(limits.maxSessions, TOMBSTONES_PER_CONNECTION));
    this.acknowledgements = new Acknowledgements(clock);
    const { sessionBytes } = parties.limits;
    this.capacity = new SessionCapacity(sessionBytes, clock, () => this.#relieve());
  }

  /** The number of sessions that are kept. */
  get size(): number {
    return this.#entries.size;
  }

  /** The number of sessions without a connection. Looks at each session. */
  get detached(): number {
    let count = 0;
    for (const { session } of this.#entries.values()) if (!session.isAttached) count++;
    return count;
  }

  /** The bytes that all sessions keep together. */
  get bytes(): number {
    return this.#parties.limits.sessionBytes.held;
  }

  /** Whether an attachment would begin a session, if the limits allow it. */
  begins(ask: Ask): boolean {
    if (this.#entries.has(ask.session) || this.#tombstones.has(ask.session)) return false;
    const nowMs = this.clock.now();
    return !ask.cancel && judgeUnknown(ask, { ...this.settings, nowMs }) === "start";
  }

  /** Admits an attachment, or returns the error with which it is refused: RESOURCE_EXHAUSTED if no more sessions begin. */
  admit(arrival: Arrival): ConnectError | undefined {
    const entry = this.#entries.get(arrival.ask.session);
    return entry === undefined ? this.#begin(arrival) : this.#resume(entry, arrival);
  }

  /**
   * Ends the attachments of a connection that ends, so that their clients attach on another one.
   *
   * @param connection that of their Arrivals
   */
  moveFrom(connection: object): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.connection === connection) entry.session.detach();
    }
  }

  /** Lets no session begin from now on (DRAINING). Sessions that exist can still be resumed. */
  drain(onEmpty: () => void): void {
    this.#onEmpty = onEmpty;
  }

  /** Ends all sessions: the server closes. */
  close(): void {
    for (const { session } of [...this.#entries.values()]) session.expire();
  }

  #resume(entry: Entry, arrival: Arrival): ConnectError | undefined {
    const { ask } = arrival;
    if (entry.caller !== arrival.caller) return sessionLost(Reason.NOT_YOURS, 0);
    if (entry.method !== arrival.method) {
      return sessionLost(Reason.PROTOCOL_ERROR, 0, "it is one of another method");
    }
    if (ask.attach <= entry.last) return sessionLost(Reason.TAKEN_OVER, 0);
    if (ask.cancel) {
      entry.skipped ||= ask.attach > entry.last + 1;
      entry.session.cancel();
      return peerFailure(Code.Canceled, "the client cancelled the call");
    }
    const waitMs = this.pace.pauseMs(arrival.party);
    if (waitMs > 0) {
      entry.session.postpone(waitMs);
      return resumeLater(waitMs);
    }
    const refusal = entry.session.attach(
      ask,
      () => arrival.open(entry.session),
      arrival.credentials,
    );
    if (refusal !== undefined) return refusal;
    entry.skipped ||= ask.attach > entry.last + 1;
    entry.last = ask.attach;
    this.#move(entry, arrival);
    return undefined;
  }

  #begin(arrival: Arrival): ConnectError | undefined {
    const { ask } = arrival;
    const nowMs = this.clock.now();
    if (this.#tombstones.has(ask.session)) return sessionLost(Reason.UNKNOWN, 0);
    // hawser-opened is a time of the server process with that epoch, comparable only if that is this process.
    const own = ask.epoch === this.settings.epoch;
    const openedMs = own ? Math.min(ask.openedMs ?? nowMs, nowMs + this.settings.graceMs) : nowMs;
    if (ask.cancel) {
      // An attachment that arrives after its cancel must not start the handler.
      const mayStart = ask.openedMs !== undefined;
      if (mayStart) this.#leaveTombstone(ask.session, openedMs, arrival.connection);
      return peerFailure(Code.Canceled, "the client cancelled the call");
    }
    const verdict = judgeUnknown(ask, { ...this.settings, nowMs });
    if (verdict === Reason.EXPIRED) return sessionLost(verdict, 0, LOOKS_OLD);
    if (verdict !== "start") return sessionLost(verdict, 0);
    if (this.#onEmpty !== undefined) return DRAINING;
    if (ask.received > 0) {
      return sessionLost(Reason.PROTOCOL_ERROR, 0, "it received messages before it began");
    }
    const full = this.#full(arrival.party);
    if (full !== undefined) return full;
    const session = arrival.create(this);
    this.#entries.set(ask.session, {
      session,
      method: arrival.method,
      caller: arrival.caller,
      openedMs,
      connection: arrival.connection,
      party: arrival.party,
      last: ask.attach,
      skipped: ask.attach > 1,
    });
    arrival.party.retain();
    arrival.party.sessions.count(1);
    session.attach(ask, () => arrival.open(session), arrival.credentials);
    arrival.start();
    return undefined;
  }

  /** Counts the session for the connection that it has now. */
  #move(entry: Entry, { ask, connection, party }: Arrival): void {
    entry.connection = connection;
    if (party === entry.party) return;
    // Without authenticate the same credentials may come from another address: that is another caller to the limits.
    const wasFinished = entry.party.caller.finishedSessions.delete(ask.session);
    if (wasFinished) party.caller.finishedSessions.add(ask.session);
    party.retain();
    party.sessions.count(1);
    entry.session.countFor(party.sessionBytes);
    this.#leave(entry.party);
    entry.party = party;
  }

  #leave(party: Party): void {
    party.sessions.count(-1);
    party.release();
  }

  /**
   * Returns the error if the caller can begin no session. Drops sessions that wait only for the confirmation of their end
   * first: the caller's own, and those of others if nothing is left at all.
   */
  #full(party: Party): ConnectError | undefined {
    const { sessions, sessionBytes } = party;
    const isFull = () => !sessions.admits(1) || !sessionBytes.admits(1);
    this.#dropFinished(party.caller.finishedSessions, isFull);
    const { limits } = this.#parties;
    const isUsedUp = () => limits.sessions.free < 1 || limits.sessionBytes.free < 1;
    this.#dropFinished(this.#finished, isUsedUp);
    const { caller } = party;
    if (!sessions.admits(1)) return overLimit(caller, "sessions", this.clock.random);
    if (sessionBytes.admits(1)) return undefined;
    return overLimit(caller, "sessionBytes", this.clock.random);
  }

  #dropFinished(ids: Iterable<string>, isNeeded: () => boolean): void {
    for (const id of ids) {
      if (!isNeeded()) break;
      this.#entries.get(id)?.session.expire();
    }
  }

  /** Ends sessions until they hold less than maxBytes, if they still hold more. */
  #relieve(): void {
    const { sessionBytes } = this.#parties.limits;
    if (sessionBytes.held <= sessionBytes.total) return;
    const isExceeded = () => sessionBytes.held > RELIEVED * sessionBytes.total;
    this.#dropFinished(this.#finished, isExceeded);
    for (const { session, party } of isExceeded() ? this.#byPrecedence() : []) {
      if (!isExceeded()) break;
      sessionBytes.refuse(party.caller.who);
      session.endOverLimit(tooMuchHeld(sessionBytes, session.countedBytes));
    }
  }

  /** The sessions that hold something, in the order in which they are ended. */
  #byPrecedence(): Entry[] {
    const held = ({ party }: Entry) => party.caller.sessionBytes.held;
    return [...this.#entries.values()]
      .filter(({ session }) => session.countedBytes > 0)
      .sort(
        (a, b) =>
          held(b) - held(a) ||
          Number(a.session.isAttached) - Number(b.session.isAttached) ||
          b.session.countedBytes - a.session.countedBytes,
      );
  }

  onFinished(id: string): void {
    this.#finished.add(id);
    this.#entries.get(id)?.party.caller.finishedSessions.add(id);
  }

  onEnded(id: string, clientKnows: boolean): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#finished.delete(id);
    entry.party.caller.finishedSessions.delete(id);
    this.#leave(entry.party);
    if (entry.skipped || !clientKnows) this.#leaveTombstone(id, entry.openedMs, entry.connection);
    if (this.size === 0) this.#onEmpty?.();
  }

  /** Remembers that a session has ended, until no attachment can start it any more. */
  #leaveTombstone(id: string, openedMs: number, connection: object): void {
    const nowMs = this.clock.now();
    const untilMs = openedMs + this.settings.graceMs;
    this.#tombstones.expire(nowMs);
    if (untilMs >= nowMs) this.#tombstones.add(id, untilMs, connection);
  }
}

function tooMuchHeld({ name, total, held }: SharedLimit, bytes: number): ConnectError {
  return peerFailure(
    Code.ResourceExhausted,
    `the session was ended because the sessions of the server hold ${held} B, ${bytes} B of them in this one: that is over ${name} ${total} B; read faster, or send less at a time`,
  );
}

function resumeLater(waitMs: number): ConnectError {
  const error = peerFailure(
    Code.Unavailable,
    `too many sessions are resumed at once: come again in ${waitMs} ms`,
  );
  error.metadata.set("grpc-retry-pushback-ms", String(waitMs));
  return error;
}
