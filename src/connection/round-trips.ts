import type { Clock } from "../flow/clock.ts";
import type { Http2Connection } from "../http2/types.ts";

/**
 * After a round trip in which no window has grown, the next one is measured this much later at the earliest: without a delay
 * a connection that is busy would else send thousands of pings a second.
 */
const PAUSE_MS = 10;

/** A window that is measured during a round trip. */
export interface MeasuredWindow {
  /** Called when the ping is sent. */
  beginSample(): void;
  /** Called when its answer has come, after `ms`. Returns whether the window has grown. */
  endSample(ms: number): boolean;
}

/**
 * The round trips of one connection, by which windows learn how much their peer sends in one: grpc-go's estimator of the
 * bandwidth-delay product, for each stream by itself. One ping measures all windows that have asked meanwhile.
 *
 * Servers count pings (gRPC A8), but none that follows HEADERS or DATA of theirs: a ping is sent only if DATA has come after
 * the answer to the previous one.
 */
export class RoundTrips {
  readonly #clock: Clock;
  /** The windows that have asked, and are measured next. */
  readonly #waiting = new Set<MeasuredWindow>();
  /** The windows that are measured now. */
  #measured: readonly MeasuredWindow[] | undefined;
  /** The bytes of DATA that had come at the last answer. */
  #receivedBytes = 0;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Measures a window as soon as may be. To be called again while it is not measured: nothing else begins a round trip.
   */
  measure(window: MeasuredWindow, connection: Http2Connection): void {
    this.#waiting.add(window);
    if (this.#measured !== undefined || connection.receivedBytes === this.#receivedBytes) return;
    const sentAtMs = this.#clock.now();
    if (sentAtMs < this.#pausedUntilMs) return;
    this.#measured = [...this.#waiting];
    this.#waiting.clear();
    for (const measured of this.#measured) measured.beginSample();
    connection.ping(() => {
      this.#receivedBytes = connection.receivedBytes;
      this.#onAnswer(sentAtMs);
    });
  }

  /** Measures a window no more: it is closed. */
  remove(window: MeasuredWindow): void {
    if (this.#waiting.size > 0) this.#waiting.delete(window);
  }

  #onAnswer(sentAtMs: number): void {
    const now = this.#clock.now();
    const measured = this.#measured ?? [];
    this.#measured = undefined;
    let hasGrown = false;
    for (const window of measured) if (window.endSample(now - sentAtMs)) hasGrown = true;
    if (!hasGrown) this.#pausedUntilMs = now + PAUSE_MS;
  }
}
