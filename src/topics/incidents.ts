import { type Logger, log } from "../observe/logger.ts";
import { operatorDetail } from "./log-failure.ts";

/** What is failing. */
export type IncidentKind = "append" | "read" | "overload" | "connection" | "silence";

/** The same text is logged again after this time, and not before: a full disk fails thousands of appends a second. */
const REPEAT_MS = 60_000;

/** How many different texts are logged within REPEAT_MS at most. */
const MAX_TEXTS = 100;

interface Incident {
  readonly kind: IncidentKind;
  readonly loggedAtMs: number;
  /** Whether it lasts: then its end is logged too. */
  isOpen: boolean;
  /** How many failures there were since it was logged. */
  unlogged: number;
}

/**
 * Tells the operator of a log of its failures: each when it begins, at most once
 * a minute while it lasts, and when it has ended.
 */
export class Incidents {
  readonly #logger: Logger;
  readonly #nowMs: () => number;
  /** By text. */
  readonly #incidents = new Map<string, Incident>();
  /** Whether an incident may be open: each append that succeeds asks for this. */
  #isOpen = false;

  constructor(logger: Logger, nowMs: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#nowMs = nowMs;
  }

  /** Logs what only the operator is told of an error, if there is anything; gives the error back. */
  report<E>(kind: IncidentKind, error: E): E {
    const text = operatorDetail(error);
    if (text !== undefined) this.failed(kind, text);
    return error;
  }

  failed(kind: IncidentKind, text: string): void {
    const nowMs = this.#nowMs();
    const before = this.#incidents.get(text);
    if (before !== undefined && nowMs - before.loggedAtMs < REPEAT_MS) {
      before.unlogged++;
      return;
    }
    if (before === undefined && this.#isFull(nowMs)) return;
    const unlogged = before?.unlogged ?? 0;
    this.#incidents.set(text, { kind, loggedAtMs: nowMs, isOpen: true, unlogged: 0 });
    this.#isOpen = true;
    log(
      this.#logger,
      "error",
      unlogged === 0 ? text : `${text} (${unlogged} more times since the last time)`,
    );
  }

  /** What failed works again: logs it, unless no failure of this kind was logged since the last end. */
  ended(kind: IncidentKind, text: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    let wasOpen = false;
    for (const incident of this.#incidents.values()) {
      if (!incident.isOpen) continue;
      if (incident.kind === kind) {
        incident.isOpen = false;
        wasOpen = true;
      } else this.#isOpen = true;
    }
    if (wasOpen) log(this.#logger, "warn", text);
  }

  #isFull(nowMs: number): boolean {
    if (this.#incidents.size < MAX_TEXTS) return false;
    for (const [text, { loggedAtMs }] of this.#incidents) {
      if (nowMs - loggedAtMs >= REPEAT_MS) this.#incidents.delete(text);
    }
    return this.#incidents.size >= MAX_TEXTS;
  }
}
