import type { Clock } from "../flow/clock.ts";
import { writeAsk } from "./headers.ts";
import type { Window } from "./session-window.ts";
import type { NegotiatedSettings } from "./settings.ts";

/** What an attachment says beside what its session is. */
export interface AttachmentCounts {
  readonly attach: number;
  readonly received: number;
  readonly window: Window;
  readonly cancel: boolean;
}

/**
 * Which session the attachments of a call belong to: its id, the server process that has it, and, until that has
 * answered, when it was opened (session.proto, 3).
 */
export class SessionIdentity {
  readonly #newId: () => string;
  readonly #clock: Clock;
  #id: string;
  #server: NegotiatedSettings;
  #epoch: string;
  #openedMs: number | undefined;
  #answered = false;

  /** @param newId makes 128 random bits in hexadecimal digits */
  constructor(newId: () => string, server: NegotiatedSettings, clock: Clock) {
    this.#newId = newId;
    this.#clock = clock;
    this.#id = newId();
    this.#server = server;
    this.#epoch = server.epoch;
  }

  /** How long the server keeps the session without an attachment. */
  get graceMs(): number {
    return this.#server.graceMs;
  }

  /** The server process, as it last said. */
  get epoch(): string {
    return this.#epoch;
  }

  /** Whether the server has answered an attachment. */
  get isAnswered(): boolean {
    return this.#answered;
  }

  /** When the first attachment was sent, by this side's clock. */
  get openedMs(): number | undefined {
    return this.#openedMs;
  }

  /** The server process with this epoch has the session. */
  answered(epoch: string): void {
    this.#answered = true;
    this.#epoch = epoch;
  }

  /** Another session takes the place of one that never began. */
  replace(server: NegotiatedSettings): void {
    this.#id = this.#newId();
    this.#server = server;
    this.#epoch = server.epoch;
    this.#openedMs = undefined;
  }

  /** The first attachment reached no handler, or was not sent: the next one is the first. */
  reopen(): void {
    this.#openedMs = undefined;
  }

  /** The headers of an attachment that is sent now; what was the first remains so. */
  ask(counts: AttachmentCounts): Record<string, string> {
    this.#openedMs ??= this.#clock.now();
    const openedMs = this.#openedMs + this.#server.clockAheadMs;
    return writeAsk({
      ...counts,
      session: this.#id,
      epoch: this.#epoch,
      openedMs: this.#answered ? undefined : openedMs,
    });
  }
}
