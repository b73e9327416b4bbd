import { Code, type ConnectError } from "@connectrpc/connect";
import { asFailure, failure, handled } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import { LazyAbortController } from "../flow/lazy-abort.ts";
import { type Pause, Pauses } from "../flow/pauses.ts";
import { type AbortSource, settled, sleep } from "../flow/wait.ts";
import type { ConnectionsStats } from "../observe/stats.ts";
import { Acknowledgements } from "../session/acknowledgements.ts";
import type { Target } from "./address.ts";
import type { Connection } from "./connection.ts";
import { Connections, type ConnectionsOptions } from "./connections.ts";
import { SessionQuestion } from "./session-question.ts";

/**
 * If an address neither answers nor refuses for this time, or allows no streams for now, the next address is tried as
 * well.
 */
const PATIENCE_MS = 500;

/**
 * The addresses of one transport, each with its connections. Calls go to the
 * address that was reached last, at first to the first of the list. If it cannot
 * be reached, or drains, they go to the next of the list, which begins again
 * after its end. If all addresses failed, each is left out during its backoff;
 * calls then wait for the address whose backoff ends first.
 *
 * One server has a session, so the session stays with the connections of its
 * address.
 */
export class Addresses {
  readonly #all: readonly Connections[];
  /** The timer for the acknowledgements of all sessions of the transport. */
  readonly acknowledgements = new Acknowledgements(realClock);
  /** Undefined until it is asked, or if there is one address. */
  #question: SessionQuestion | undefined;
  readonly #closing = new LazyAbortController();
  readonly #pauses = new Pauses();
  #at = 0;

  constructor(targets: readonly Target[], options: ConnectionsOptions) {
    this.#all = targets.map((target, at) => {
      const owner = {
        closing: this.#closing,
        pauses: this.#pauses,
        onDrain: () => this.#drains(at),
      };
      return new Connections(target, options, owner);
    });
  }

  /** Whether the servers keep sessions. A single address is asked once for calls and for sessions that begin again. */
  get question(): SessionQuestion {
    const [only] = this.#all as [Connections];
    if (this.#all.length === 1) return only.question;
    this.#question ??= new SessionQuestion(this);
    return this.#question;
  }

  get closing(): AbortSource {
    return this.#closing;
  }

  /** The addresses in errors: "127.0.0.1:50051, 127.0.0.1:50052". */
  get name(): string {
    return this.#all.map(({ target }) => target.name).join(", ");
  }

  /** What all addresses have now. */
  get stats(): ConnectionsStats {
    const each = this.#all.map(({ stats }) => stats);
    const sum = (read: (stats: ConnectionsStats) => number) =>
      each.reduce((sum, stats) => sum + read(stats), 0);
    return {
      connections: sum(({ connections }) => connections),
      waitingCalls: sum(({ waitingCalls }) => waitingCalls),
      sessions: {
        open: sum(({ sessions }) => sessions.open),
        detached: sum(({ sessions }) => sessions.detached),
      },
    };
  }

  /** Tries to connect more often from now on: there are calls that reconnect by themselves. */
  useFastReconnect(): void {
    for (const connections of this.#all) connections.useFastReconnect();
  }

  /** Waits before a call is made again. expectNetwork() ends the wait, unless the server has asked for it. */
  pause({ ms, isAsked, signal }: Pause): Promise<void> {
    return isAsked
      ? sleep(ms, signal, this.#closing)
      : this.#pauses.sleep(ms, signal, this.#closing);
  }

  /**
   * Makes the next attempts now, of connections, of sessions and of calls that continue from a cursor: the network may
   * have returned.
   */
  expectNetwork(): void {
    for (const connections of this.#all) connections.expectNetwork();
    this.#pauses.end();
  }

  /** Returns a connection with a free stream, if there is one. */
  ready(): Connection | undefined {
    const current = (this.#all[this.#at] as Connections).ready();
    if (current !== undefined || this.#all.length === 1) return current;
    for (const connections of this.#inOrder()) {
      const ready = connections.ready();
      if (ready !== undefined) return ready;
    }
    return undefined;
  }

  /** As Connections.acquire(), with connections to any address. */
  acquire(use: (connection: Connection) => void, wanted = () => true): Promise<void> {
    const [only] = this.#all as [Connections];
    return this.#all.length === 1 ? only.acquire(use, wanted) : this.#acquire(use, wanted);
  }

  /** Returns the connections to the address of this one. */
  homeOf({ target }: Connection): Connections {
    return this.#all.find((connections) => connections.target === target) as Connections;
  }

  /** Closes every connection; open calls, and new ones, fail with `reason`. */
  async close(reason: ConnectError): Promise<void> {
    this.#closing.abort(reason);
    await Promise.all(this.#all.map((connections) => connections.close(reason)));
  }

  #acquire(use: (connection: Connection) => void, wanted: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let used = false;
    const once = (connections: Connections) => (connection: Connection) => {
      // This address was too slow: its connection is for later calls.
      if (used) return;
      used = true;
      this.#at = this.#all.indexOf(connections);
      // When this connection is lost, the other addresses are tried without a pause.
      for (const other of this.#all) if (other !== connections) other.resetBackoff();
      try {
        use(connection);
        resolve();
      } catch (error) {
        reject(error);
      }
    };
    const waits = () => !used && wanted();
    const tryAll = async () => {
      const attempts: Promise<void>[] = [];
      // If all addresses are in their backoff, the call waits for the one whose backoff ends first.
      for (const connections of this.#inOrder().sort((a, b) => a.waitMs - b.waitMs)) {
        if (attempts.length > 0 && connections.waitMs > 0) continue;
        const attempt = handled(connections.acquire(once(connections), waits));
        attempts.push(attempt);
        await settled(attempt, connections.takesCalls ? undefined : PATIENCE_MS);
        if (used) return;
        if (!wanted()) break;
      }
      const ends = await Promise.allSettled(attempts);
      const reasons = ends.filter((end) => end.status === "rejected").map(({ reason }) => reason);
      if (!used) reject(this.#unreachable(reasons));
    };
    tryAll();
    return promise;
  }

  #unreachable(reasons: readonly unknown[]): unknown {
    const errors = reasons.map(asFailure);
    // Any other code: the transport was closed meanwhile.
    const other = errors.find(({ code }) => code !== Code.Unavailable);
    if (other !== undefined) return other;
    // The addresses in their backoff failed a moment ago.
    const known = this.#all
      .map(({ lastError }) => lastError)
      .filter((error) => error !== undefined);
    const texts = [...errors, ...known].map(({ rawMessage }: ConnectError) => rawMessage);
    const reason = [...new Set(texts)].join("; ");
    const count = this.#all.length;
    return failure(Code.Unavailable, `none of ${count} addresses can be reached: ${reason}`);
  }

  #inOrder(): Connections[] {
    return [...this.#all.slice(this.#at), ...this.#all.slice(0, this.#at)];
  }

  #drains(at: number): void {
    if (at === this.#at) this.#at = (at + 1) % this.#all.length;
  }
}
