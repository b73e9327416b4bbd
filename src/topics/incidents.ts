import { type Logger, log } from "../observe/logger.ts";
import { operatorDetail } from "./log-failure.ts";

/** The part of a log that fails. */
export type IncidentKind = "append" | "read" | "overload" | "connection" | "silence";

/**
 * A text that was logged is logged again after this time at the earliest: with a full disk
 * thousands of appends fail per second.
 */
const REPEAT_MS = 60_000;

/** The largest number of different texts that are logged within REPEAT_MS. */
const MAX_TEXTS = 100;

interface Incident {
  readonly kind: IncidentKind;
  readonly loggedAtMs: number;
  /** Whether the failure lasts. If it does, its end is logged too. */
  isOpen: boolean;
  /** How many failures with this text occurred since the text was logged. */
  unlogged: number;
}

/**
 * Logs the failures of a topic log for its operator: each when it begins, at most once a minute
 * while it lasts, and when it has ended.
 */
export class Incidents {
  readonly #logger: Logger;
  readonly #nowMs: () => number;
  /** The key is the text. */
  readonly #incidents = new Map<string, Incident>();
  /** Whether an incident may be open. Each append that succeeds reads this, so it must be quick to read. */
  #isOpen = false;

  constructor(logger: Logger, nowMs: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#nowMs = nowMs;
  }

  /** Logs the operator's part of an error, if the error has one. Returns the error. */
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

  /** Logs that something works again, if a failure of this kind was logged since the previous call. */
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
