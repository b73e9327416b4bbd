import type { ClientObserver } from "hawser/web";

/** The state of the page's connection. */
export type PageConnectionState =
  | { readonly name: "connecting" }
  /** `afterMs`: how long the connection before was gone; `undefined` for the first one. */
  | { readonly name: "open"; readonly afterMs: number | undefined }
  | { readonly name: "resuming" }
  /** An attempt to connect has failed, and another follows. */
  | { readonly name: "unreachable" };

/** Follows the connections of a transport, of which a page has one at a time, or a few with very many calls. */
export class PageConnection {
  /** The option `observe` of the transport. */
  readonly observer: ClientObserver;
  readonly #onState: (state: PageConnectionState) => void;
  readonly #now: () => number;
  #open = 0;
  #lostAt: number | undefined;
  #losses = 0;

  constructor(onState: (state: PageConnectionState) => void, now = () => performance.now()) {
    this.#onState = onState;
    this.#now = now;
    this.observer = {
      connectionOpened: () => this.#opened(),
      connectionClosed: () => this.#closed(),
      connectionFailed: () => this.#open > 0 || onState({ name: "unreachable" }),
    };
  }

  /** How often the page was without a connection. */
  get losses(): number {
    return this.#losses;
  }

  #opened(): void {
    if (++this.#open > 1) return;
    const afterMs = this.#lostAt === undefined ? undefined : this.#now() - this.#lostAt;
    this.#onState({ name: "open", afterMs });
  }

  #closed(): void {
    if (--this.#open > 0) return;
    this.#losses++;
    this.#lostAt = this.#now();
    this.#onState({ name: "resuming" });
  }
}

/** Returns a state in words. */
export function wordsOf(state: PageConnectionState, isHeld: boolean): string {
  if (isHeld && state.name !== "open") return "Cut: what you write waits";
  switch (state.name) {
    case "connecting":
      return "Connecting…";
    case "open":
      return state.afterMs === undefined
        ? "Connected"
        : `Connected again after ${durationOf(state.afterMs)}`;
    case "resuming":
      return "Connection lost: resuming…";
    case "unreachable":
      return "The server does not answer: trying again…";
  }
}

/** `12 ms`, `3.4 s` */
function durationOf(ms: number): string {
  return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}
