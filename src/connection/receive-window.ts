import type { Http2Stream } from "../http2/types.ts";
import type { ConnectionMemory } from "./connection-memory.ts";
import { ENTRY_BYTES } from "./receive-budget.ts";
import type { MeasuredWindow } from "./round-trips.ts";

/** The window that each stream begins with: that of HTTP/2 (RFC 9113, 6.5.2). */
export const FIRST_WINDOW_BYTES = 65_535;

/** A window grows up to this, the limit of grpc-go: 80 ms at 200 MB/s. */
const LARGEST_WINDOW_BYTES = 16 * 1024 * 1024;

/** A window limits its peer if the peer sends this part of it in a round trip, or more (grpc-go's beta). */
const FULL = 2 / 3;

/**
 * A window grows again if the peer is faster than before by this factor; otherwise something other than the window limits the
 * peer. When a window that is the limit doubles, the peer becomes twice as fast. So the window ends between 1.6 and 3.2 times
 * what is under way.
 */
const FASTER = 1.25;

/** The weight of a round trip in the moving average of the peer's speed: one that was fast by chance is soon forgotten. */
const WEIGHT = 1 / 4;

/** A round trip that is shorter tells more of the two programs than of the way between them: it counts as this long. */
const SHORTEST_MS = 1;

/** The most bytes of an incomplete message that the peer may send at once. */
const LARGEST_REST_BYTES = 1024 * 1024;

/**
 * The window of a client's stream that sends more than DUPLEX_BYTES: twice what HAProxy holds of a stream, which is 64 KiB
 * and three buffers of 16 KiB. HAProxy 2.6 reads the frames of a connection in order: it comes to a WINDOW_UPDATE only
 * after the requests before it; these may wait for the server, which may wait until HAProxy has sent its responses on. While
 * the client reads, three quarters of this window are free, so that they can be sent. DUPLEX_BYTES are less than one buffer.
 */
const DUPLEX_WINDOW_BYTES = 256 * 1024;
const DUPLEX_BYTES = 8 * 1024;

/** What a window needs from the code that reads its stream. */
export interface WindowOwner {
  readonly memory: ConnectionMemory;
  /** Changes whenever the application takes a message. */
  readonly progress: number;
}

/**
 * The receive window of one HTTP/2 stream: how many bytes its peer may send before the application has taken them. It begins
 * with FIRST_WINDOW_BYTES and becomes larger, while no budget is exceeded, for three reasons:
 *
 * - Delay. If a round trip takes long, a small window limits the peer. So when half a window was taken, the next round trip is
 *   measured. The window doubles if the peer has sent most of it in that time, and faster than when it grew before. It needs
 *   capacity of the budgets for that, which it keeps until it is closed, or idle while another stream needs it.
 * - The rest of a message that is larger than the window, while the application waits for it (`awaitRest`).
 * - A proxy that reads no window update before it has sent on what came before that, while this side sends much (`onSend`).
 *
 * Without a delay windows stay small, and nothing is measured but the bytes of half a window.
 */
export class ReceiveWindow implements MeasuredWindow {
  readonly #owner: WindowOwner;
  #stream!: Http2Stream;
  /** Without the rest of an incomplete message. */
  #bytes = FIRST_WINDOW_BYTES;
  /** Whether the window of the HTTP/2 stream is larger than `#bytes`, for the rest of an incomplete message. */
  #isAhead = false;
  /** The bytes to be sent until the window becomes DUPLEX_WINDOW_BYTES. At 0 or less it has, or never does. */
  #bytesToDuplex: number;
  /** The window while nothing is received. */
  #idleBytes = FIRST_WINDOW_BYTES;
  /** The bytes whose credit was returned since the measurement began, or since measure() was called. */
  #returnedBytes = 0;
  #isMeasured = false;
  /** The owner's progress when the measurement began. */
  #sampleProgress = 0;
  /** How fast the peer sends while the window is full: when the window grew, and on average since then. */
  #bytesPerMs = 0;
  /** What this window has of the capacity for larger windows. */
  #capacityBytes = 0;
  /** Whether half a window was taken since the last shrinkIdle(). */
  #isUsed = false;

  /** @param mayBeDuplex whether onSend() may make the window larger */
  constructor(owner: WindowOwner, mayBeDuplex = false) {
    this.#owner = owner;
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

  /** Lets the peer send as many bytes again: the application has taken them, or they are part of an incomplete message. */
  returnCredit(bytes: number): void {
    this.#stream.returnCredit(bytes);
    this.#returnedBytes += bytes;
    if (this.#returnedBytes >= this.#bytes >>> 1 && !this.#isMeasured) this.#measure();
  }

  #measure(): void {
    this.#isUsed = true;
    this.#returnedBytes = 0;
    if (this.#bytes >= LARGEST_WINDOW_BYTES || this.#stream.isRemoteEnded) return;
    this.#owner.memory.roundTrips.measure(this, this.#stream.connection);
  }

  beginSample(): void {
    this.#isMeasured = true;
    this.#returnedBytes = 0;
    this.#sampleProgress = this.#owner.progress;
  }

  /** What the peer may send more arrives a round trip later, after half of a window that has doubled: then it is measured. */
  endSample(ms: number): boolean {
    const bytes = this.#returnedBytes;
    this.#isMeasured = false;
    this.#returnedBytes = 0;
    if (bytes >= this.#bytes >>> 1) this.#isUsed = true;
    return this.#growBy(bytes, bytes / Math.max(ms, SHORTEST_MS));
  }

  /** Makes the window larger if it limits the peer, which has sent `bytes` in a round trip. */
  #growBy(bytes: number, bytesPerMs: number): boolean {
    const { memory, progress } = this.#owner;
    if (this.#stream.isClosed || bytes < FULL * this.#bytes || !memory.mayGrow) return false;
    if (bytesPerMs < FASTER * this.#bytesPerMs) {
      this.#bytesPerMs += (bytesPerMs - this.#bytesPerMs) * WEIGHT;
      return false;
    }
    const larger = Math.min(2 * Math.max(bytes, this.#bytes), LARGEST_WINDOW_BYTES);
    // What a byte of the window costs if messages like these fill it.
    const cost = 1 + (ENTRY_BYTES * (progress - this.#sampleProgress)) / bytes;
    const wantedBytes = Math.ceil((larger - FIRST_WINDOW_BYTES) * cost) - this.#capacityBytes;
    const takenBytes = memory.takeCapacity(wantedBytes);
    const windowBytes = larger - Math.ceil((wantedBytes - takenBytes) / cost);
    if (windowBytes <= this.#bytes) {
      memory.giveCapacityBack(takenBytes);
      return false;
    }
    this.#capacityBytes += takenBytes;
    this.#bytesPerMs = bytesPerMs;
    this.#setBytes(windowBytes);
    return true;
  }

  /** To be called before bytes are sent. */
  onSend(bytes: number): void {
    if (this.#bytesToDuplex <= 0) return;
    this.#bytesToDuplex -= bytes;
    if (this.#bytesToDuplex > 0 || !this.#owner.memory.mayGrow) return;
    this.#idleBytes = DUPLEX_WINDOW_BYTES;
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
    const isAhead = restBytes > this.#bytes && this.#owner.memory.mayGrow;
    if (!isAhead && !this.#isAhead) return;
    this.#isAhead = isAhead;
    this.#stream.setWindow(isAhead ? restBytes : this.#bytes);
  }

  /** Gives the stream the window that it began with: a budget is exceeded. */
  shrink(): void {
    this.#idleBytes = FIRST_WINDOW_BYTES;
    this.#shrinkToIdle();
  }

  /** Gives capacity back, for streams that need it, if little was taken since the previous call. */
  shrinkIdle(): void {
    if (this.#capacityBytes > 0 && !this.#isUsed) this.#shrinkToIdle();
    this.#isUsed = false;
  }

  #shrinkToIdle(): void {
    if (this.#bytes > this.#idleBytes) this.#setBytes(this.#idleBytes);
    this.#bytesPerMs = 0;
    this.#giveCapacityBack();
  }

  /** To be called when the stream is closed. */
  close(): void {
    this.#owner.memory.stopMeasuring(this);
    this.#giveCapacityBack();
  }

  #giveCapacityBack(): void {
    if (this.#capacityBytes === 0) return;
    this.#owner.memory.giveCapacityBack(this.#capacityBytes);
    this.#capacityBytes = 0;
  }

  #setBytes(bytes: number): void {
    this.#bytes = bytes;
    this.#stream.setWindow(bytes);
  }
}
