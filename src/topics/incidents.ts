import { type Logger, log } from "../observe/logger.ts";
import { operatorDetail } from "./log-failure.ts";

/** What is failing. */
export type IncidentKind = "append" | "read" | "overload" | "connection" | "silence";

/** The same text is told again after this time, and not before: a full disk fails thousands of appends a second. */
const REPEAT_MS = 60_000;

/** How many different texts are told within REPEAT_MS at most. */
const MAX_TEXTS = 100;

interface Incident {
  readonly kind: IncidentKind;
  readonly toldAtMs: number;
  /** Told, and not over yet: its end is told too. */
  isOpen: boolean;
  /** Failures since it was told. */
  untold: number;
}

/**
 * What the operator of a log is told: the first failure, at most once a minute
 * that it lasts, and the end of what was told.
 */
export class Incidents {
  readonly #logger: Logger;
  readonly #nowMs: () => number;
  /** By text. */
  readonly #incidents = new Map<string, Incident>();
  /** Whether one may be open: what goes well asks for each record. */
  #isOpen = false;

  constructor(logger: Logger, nowMs: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#nowMs = nowMs;
  }

  /** Tells what the operator must know of an error, and gives the error back. */
  report<E>(kind: IncidentKind, error: E): E {
    const text = operatorDetail(error);
    if (text !== undefined) this.failed(kind, text);
    return error;
  }

  failed(kind: IncidentKind, text: string): void {
    const nowMs = this.#nowMs();
    const before = this.#incidents.get(text);
    if (before !== undefined && nowMs - before.toldAtMs < REPEAT_MS) {
      before.untold++;
      return;
    }
    if (before === undefined && this.#isFull(nowMs)) return;
    const untold = before?.untold ?? 0;
    this.#incidents.set(text, { kind, toldAtMs: nowMs, isOpen: true, untold: 0 });
    this.#isOpen = true;
    log(
      this.#logger,
      "error",
      untold === 0 ? text : `${text} (${untold} more times since the last time)`,
    );
  }

  /** What failed works again; does nothing where no failure of this kind was told since the last end. */
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
    for (const [text, { toldAtMs }] of this.#incidents) {
      if (nowMs - toldAtMs >= REPEAT_MS) this.#incidents.delete(text);
    }
    return this.#incidents.size >= MAX_TEXTS;
  }
}
