import { Code } from "@connectrpc/connect";
import type { Received } from "../../src/call-stream.ts";
import { failure } from "../../src/failure.ts";
import type { ServerAttachment } from "../../src/session/attachment.ts";
import { Reason, readSessionLost } from "../../src/session/lost.ts";
import { type SessionLimits, SessionRegistry } from "../../src/session/registry.ts";
import { ServerSession } from "../../src/session/server-session.ts";
import { type Connected, Parties, type Party, sharedLimits } from "../../src/sharing/parties.ts";
import { BASE, ServerApp } from "./session-sim-apps.ts";
import { FakeTime } from "./session-sim-clock.ts";

export const GRACE_MS = 1000;
export const WINDOW = { bytes: 100, messages: 10 };
const METHOD = {};
/** The server's clock at the start. */
export const START_MS = 5000;

/** A stream that brings nothing. */
class SilentStream implements ServerAttachment {
  refused = false;
  readonly announcedHeaderBytes = 65_536;
  readonly ownTrailerBytes = 0;
  readonly waitingBytes = 0;
  sendHeaders(): void {}
  pull(): undefined {}
  write(): undefined {}
  taken(): void {}
  hold(): void {}
  flush(): void {}
  endSend(): void {}
  refuse(): void {
    this.refused = true;
  }
  release(): void {}
  reset(): void {}
}

const peer = { address: undefined, isEncrypted: false, certificate: undefined, proxy: undefined };

const callerOf = (identity: string | undefined) => ({ identity, peer });

interface Asking {
  attach?: number;
  opened?: number | undefined;
  epoch?: string;
  cancel?: boolean;
  received?: number;
  connection?: object;
  /** Whose connection it is. */
  caller?: string;
}

/** The sessions of a server, on a clock that the test sets, and the handlers that they started. */
export class RegistryWorld {
  readonly time = new FakeTime();
  readonly registry: SessionRegistry;
  readonly parties: Parties;
  readonly runs: { id: string; app: ServerApp }[] = [];
  readonly #connections = new Map<object, Connected>();
  readonly #streams = new Map<string, SilentStream>();

  constructor(limits: Partial<SessionLimits> = {}) {
    const all = { maxSessions: 3, maxBytes: 1000, resumesPerSecond: 100, ...limits };
    const settings = { epoch: "here", graceMs: GRACE_MS, window: WINDOW };
    this.parties = new Parties(sharedLimits({ maxOpenCalls: 1, ...all }));
    const shared = { limits: all, parties: this.parties };
    this.registry = new SessionRegistry(settings, shared, this.time.clock(START_MS));
  }

  /** An attachment asks to be admitted: "in", or the code or reason of the refusal. */
  ask(session: string, asking: Asking = {}): string {
    const { attach = 1, epoch = "here", cancel = false, received = 0 } = asking;
    const { connection = this, caller = "me" } = asking;
    const party = this.partyOf(connection, caller);
    const openedMs = "opened" in asking ? asking.opened : START_MS + this.time.nowMs;
    const refusal = this.registry.admit({
      ask: { session, attach, received, window: WINDOW, epoch, openedMs, cancel },
      method: METHOD,
      caller: "me",
      connection,
      party,
      open: () => {
        const stream = new SilentStream();
        this.#streams.set(session, stream);
        return stream;
      },
      create: (keeper) => {
        const app = new ServerApp();
        const ask = { session, attach, received, window: WINDOW, epoch, openedMs, cancel };
        app.session = new ServerSession(
          { keeper, account: party.sessionBytes, ask, head: BASE },
          app,
        );
        this.runs.push({ id: session, app });
        return app.session;
      },
      start() {},
    });
    if (refusal === undefined) return "in";
    const lost = readSessionLost(refusal);
    return lost === undefined ? (Code[refusal.code] ?? "?") : (Reason[lost.reason] ?? "?");
  }

  partyOf(connection: object, identity = "me"): Party {
    const known = this.#connections.get(connection);
    const connected = known ?? { caller: callerOf(undefined) };
    this.#connections.set(connection, connected);
    return this.parties.of(connected, callerOf(identity));
  }

  close(connection: object): void {
    const connected = this.#connections.get(connection);
    if (connected !== undefined) this.parties.onClosed(connected);
  }

  /** The last stream of a session. */
  stream(id: string): SilentStream {
    return this.#streams.get(id) as SilentStream;
  }

  /** Loses the newest stream of a session. */
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

/** A message as a stream brings it. */
export const frame = (text: string): Received => {
  const bytes = Buffer.from(text);
  return { flags: 0, bytes, start: 0, end: bytes.length };
};
