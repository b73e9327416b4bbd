import type { ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { asFailure } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";

/** The credentials of a session's caller, which expire. */
export interface Credentials {
  /** How long they are valid from now on, in milliseconds. Infinity: they do not expire. */
  readonly validMs: number;
  /**
   * Authenticates the caller by new headers. Rejects with the error of a caller that is not allowed, or that is not the
   * caller of the session.
   */
  renew(headers: HeaderList): Promise<Credentials>;
}

/** A session whose caller's credentials expire. */
export interface ExpiringSession {
  /** Tells the client how long its credentials are valid. */
  sendExpiry(validMs: number): void;
  /** Ends the call. */
  onExpired(): void;
  /** Called if new credentials are refused. */
  onRefused(error: ConnectError): void;
}

/** Watches the credentials of one attachment, at the server (session.proto, 10). */
export class CredentialWatch implements Disposable {
  readonly #clock: Clock;
  readonly #session: ExpiringSession;
  #credentials: Credentials;
  #timer: Disposable | undefined;
  /** Whether new credentials are being authenticated. */
  #isRenewing = false;
  /** The newest that wait until that is done: a client cannot make more wait. */
  #waiting: HeaderList | undefined;
  #isOver = false;

  constructor(credentials: Credentials, clock: Clock, session: ExpiringSession) {
    this.#clock = clock;
    this.#session = session;
    this.#credentials = credentials;
    this.#use(credentials);
  }

  /** The client has sent new credentials. */
  async renew(headers: HeaderList): Promise<void> {
    this.#waiting = headers;
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    try {
      for (let next = this.#takeWaiting(); next !== undefined; next = this.#takeWaiting()) {
        const credentials = await this.#credentials.renew(next);
        if (!this.#isOver) this.#use(credentials);
      }
    } catch (error) {
      if (!this.#isOver) this.#session.onRefused(asFailure(error));
    } finally {
      this.#isRenewing = false;
    }
  }

  #takeWaiting(): HeaderList | undefined {
    const waiting = this.#isOver ? undefined : this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }

  #use(credentials: Credentials): void {
    const { validMs } = credentials;
    this.#credentials = credentials;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    if (validMs === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.startTimer(validMs, () => this.#session.onExpired());
    this.#session.sendExpiry(validMs);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#timer?.[Symbol.dispose]();
  }
}
