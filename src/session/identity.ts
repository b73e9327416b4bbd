import type { Clock } from "../flow/clock.ts";
import { writeAsk } from "./headers.ts";
import type { Window } from "./session-window.ts";
import type { NegotiatedSettings } from "./settings.ts";

/** The headers of an attachment that change from one to the next. */
export interface AttachmentCounts {
  readonly attach: number;
  readonly received: number;
  readonly cancel: boolean;
}

/** What an identity is made of. */
export interface SessionIdentityInit {
  /** Makes 128 random bits in hexadecimal digits. */
  readonly newId: () => string;
  readonly server: NegotiatedSettings;
  /** The window of this side. */
  readonly window: Window;
  readonly clock: Clock;
}

/**
 * The identity of a session: its id, the epoch of the server process that has it, and, until that has answered, the
 * time when it was opened (session.proto, 3).
 */
export class SessionIdentity {
  readonly #init: SessionIdentityInit;
  #id: string;
  #server: NegotiatedSettings;
  #epoch: string;
  #openedMs: number | undefined;
  #isAnswered = false;

  constructor(init: SessionIdentityInit) {
    this.#init = init;
    this.#id = init.newId();
    this.#server = init.server;
    this.#epoch = init.server.epoch;
  }

  /** The server keeps the session without an attachment for this time. */
  get graceMs(): number {
    return this.#server.graceMs;
  }

  /** The epoch of the server process that answered last, at first that of Negotiate. */
  get epoch(): string {
    return this.#epoch;
  }

  /** Whether the server has answered an attachment. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /** The time when the first attachment was sent, by this side's clock. */
  get openedMs(): number | undefined {
    return this.#openedMs;
  }

  /** Notes the epoch of the server process that has the session. */
  onAnswer(epoch: string): void {
    this.#isAnswered = true;
    this.#epoch = epoch;
  }

  /** Becomes the identity of a new session, which replaces one that never began. */
  replace(server: NegotiatedSettings): void {
    this.#id = this.#init.newId();
    this.#server = server;
    this.#epoch = server.epoch;
    this.#openedMs = undefined;
  }

  /** Makes the next attachment the first: the one before reached no handler, or was not sent. */
  reopen(): void {
    this.#openedMs = undefined;
  }

  /** Returns the headers of an attachment that is sent now. */
  ask(counts: AttachmentCounts): Record<string, string> {
    const { clock, window } = this.#init;
    this.#openedMs ??= clock.now();
    const openedMs = this.#openedMs + this.#server.clockAheadMs;
    return writeAsk({
      ...counts,
      window,
      session: this.#id,
      epoch: this.#epoch,
      openedMs: this.#isAnswered ? undefined : openedMs,
    });
  }
}
