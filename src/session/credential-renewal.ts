import type { HeaderList } from "../call-stream.ts";
import type { Clock } from "../flow/clock.ts";
import type { Dialler } from "./attachment.ts";

/** New credentials are asked for after this part of the time for which the old ones are valid, ± the jitter, */
const RENEW_AT = 0.5;
/** but not earlier than this long before they expire. */
const EARLIEST_MS = 5 * 60_000;
/** Sessions that began together do not renew together. */
const JITTER = 0.05;
/** If they cannot be had, they are asked for again after this part of the time that is left, while there is any. */
const AGAIN_AFTER = 0.5;
const AGAIN_MIN_MS = 10;

/** Renews the credentials of a session before they expire, at the client (session.proto, 10). */
export class CredentialRenewal {
  readonly #clock: Clock;
  readonly #source: Pick<Dialler, "freshHeaders">;
  readonly #send: (headers: HeaderList) => void;
  #timer: Disposable | undefined;
  #expiresAtMs = 0;

  /** @param send sends the new headers on the stream of the session */
  constructor(
    clock: Clock,
    source: Pick<Dialler, "freshHeaders">,
    send: (headers: HeaderList) => void,
  ) {
    this.#clock = clock;
    this.#source = source;
    this.#send = send;
  }

  /** The server says how long the credentials of this attachment are valid. */
  onExpires(validMs: number): void {
    this.#expiresAtMs = this.#clock.now() + validMs;
    const part = RENEW_AT + JITTER * (2 * this.#clock.random() - 1);
    this.#renewAfter(Math.max(validMs * part, validMs - EARLIEST_MS));
  }

  /** The attachment has ended. */
  stop(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #renewAfter(ms: number): void {
    this.stop();
    const timer = this.#clock.startTimer(ms, () => this.#renew(timer));
    this.#timer = timer;
  }

  #renew(timer: Disposable): void {
    const isCurrent = () => this.#timer === timer;
    this.#source.freshHeaders()?.then(
      (headers) => isCurrent() && this.#send(headers),
      () => isCurrent() && this.#again(),
    );
  }

  #again(): void {
    const leftMs = this.#expiresAtMs - this.#clock.now();
    if (leftMs > AGAIN_MIN_MS) this.#renewAfter(leftMs * AGAIN_AFTER);
  }
}
