import type { Http2Stream } from "../http2/types.ts";
import type { ConnectionMemory } from "./receive-budget.ts";

/** The window that each stream begins with: that of HTTP/2 (RFC 9113, 6.5.2). */
export const FIRST_WINDOW_BYTES = 65_535;

/**
 * A window grows up to this: 100 ms at 10 MB/s. Eight streams that nobody reads then fill the budget of a connection,
 * and all windows become small again.
 */
const LARGEST_WINDOW_BYTES = 1024 * 1024;

/**
 * A window grows if the application took a whole one within this time. A stream that is slower is not held back by its
 * window, unless the way to the peer and back takes longer.
 */
const GROWTH_MS = 250;

/** The most bytes of an incomplete message that the peer may send at once. */
const LARGEST_REST_BYTES = 1024 * 1024;

/**
 * The window of a client's stream that sends more than DUPLEX_BYTES: twice what HAProxy holds of a stream, which is 64 KiB
 * and three buffers of 16 KiB. HAProxy 2.6 reads the frames of a connection in order: it comes to a WINDOW_UPDATE only
 * after the requests before it; these may wait for the server, which may wait until HAProxy has sent its responses on. While
 * the client reads, half of this window is free, so that they can be sent. DUPLEX_BYTES are less than one buffer.
 */
const DUPLEX_WINDOW_BYTES = 256 * 1024;
const DUPLEX_BYTES = 8 * 1024;

/**
 * The receive window of one HTTP/2 stream: how many bytes its peer may send before the application has taken them. It begins
 * with FIRST_WINDOW_BYTES and becomes larger, while the budgets of its connection are not exceeded, for three reasons:
 *
 * - the application takes the messages fast (`onTaken`);
 * - the application waits for the rest of a message that is larger than the window (`awaitRest`): until it is whole;
 * - this side sends much (`onSend`), and a proxy between the two sides may read no window update before it has sent that on.
 *
 * The owner returns the credit; the HTTP/2 stream keeps the window up as credit is returned.
 */
export class ReceiveWindow {
  readonly #memory: ConnectionMemory;
  #stream!: Http2Stream;
  /** Without the rest of an incomplete message. */
  #bytes = FIRST_WINDOW_BYTES;
  /** Whether the window of the HTTP/2 stream is larger than `#bytes`, for the rest of an incomplete message. */
  #isAhead = false;
  /** The bytes to be sent until the window becomes DUPLEX_WINDOW_BYTES. At 0 or less it has, or never does. */
  #bytesToDuplex: number;
  /** The bytes that the application took since `#windowTakenAt`, when it had taken a whole window. */
  #takenBytes = 0;
  #windowTakenAt = Number.NEGATIVE_INFINITY;

  /** @param mayBeDuplex whether onSend() may make the window larger */
  constructor(memory: ConnectionMemory, mayBeDuplex = false) {
    this.#memory = memory;
    this.#bytesToDuplex = mayBeDuplex ? DUPLEX_BYTES : 0;
  }

  /** Sets the stream: to be called once, before any other method. */
  attach(stream: Http2Stream): void {
    this.#stream = stream;
  }

  /** Whether the peer may send. */
  get hasCredit(): boolean {
    return this.#stream.unreturnedBytes < this.#bytes;
  }

  /** The application took bytes, or nothing limits the application. */
  onTaken(bytes: number): void {
    this.#takenBytes += bytes;
    if (this.#takenBytes >= this.#bytes) this.#onWindowTaken();
  }

  /** Doubles the window if it may be what limits the peer. */
  #onWindowTaken(): void {
    const now = this.#memory.now();
    const isFast = now - this.#windowTakenAt <= GROWTH_MS;
    this.#takenBytes = 0;
    this.#windowTakenAt = now;
    if (!isFast || this.#bytes >= LARGEST_WINDOW_BYTES || !this.#memory.mayGrow) return;
    this.#setBytes(Math.min(this.#bytes * 2, LARGEST_WINDOW_BYTES));
  }

  /** To be called before bytes are sent. */
  onSend(bytes: number): void {
    if (this.#bytesToDuplex <= 0) return;
    this.#bytesToDuplex -= bytes;
    if (this.#bytesToDuplex > 0 || !this.#memory.mayGrow) return;
    if (this.#bytes < DUPLEX_WINDOW_BYTES) this.#setBytes(DUPLEX_WINDOW_BYTES);
  }

  /**
   * Lets the peer send the whole rest of an incomplete message at once, as grpc-go does. A proxy that reads no further than a
   * stream whose other side takes no more (HAProxy 2.6) may otherwise wait for ever for the next WINDOW_UPDATE.
   *
   * @param bytes what is missing of the message; 0 if none is incomplete, or if the application does not wait for it
   */
  awaitRest(bytes: number): void {
    const restBytes = Math.min(bytes, LARGEST_REST_BYTES);
    const isAhead = restBytes > this.#bytes && this.#memory.mayGrow;
    if (!isAhead && !this.#isAhead) return;
    this.#isAhead = isAhead;
    this.#stream.setWindow(isAhead ? restBytes : this.#bytes);
  }

  /** Gives the stream the window that it began with: a budget is exceeded. */
  shrink(): void {
    if (this.#bytes !== FIRST_WINDOW_BYTES) this.#setBytes(FIRST_WINDOW_BYTES);
  }

  #setBytes(bytes: number): void {
    this.#bytes = bytes;
    this.#stream.setWindow(bytes);
  }
}
