/**
 * What waits in an inbox is at first a part of the buffer of one socket read, which many messages share. Most consumers take
 * it soon; what waits longer is copied, so that a few bytes do not keep a whole buffer in memory. A step is made after each
 * STEP_BYTES of such buffers, and after TICK_MS; the second step after the arrival of a message copies it. So all inboxes of
 * a process together keep about twice STEP_BYTES of buffers.
 */
import { runtime } from "./runtime.ts";
import { startTimer } from "./wait.ts";

const STEP_BYTES = 4 * 1024 * 1024;
const TICK_MS = 100;

/** What has messages that share buffers. */
export interface Sharer {
  /** Copies the messages that have waited since the call before this one. Returns whether others still share buffers. */
  copyOld(): boolean;
}

class SharedBuffers {
  #sharers: Sharer[] = [];
  #latest: Uint8Array | undefined;
  /** The bytes of the buffers since the previous step. */
  #bytes = 0;
  #isStepScheduled = false;
  #timer: Disposable | undefined;

  /** A message waits that is a part of `read`, the bytes of a socket read. */
  count(read: Uint8Array): void {
    if (read === this.#latest) return;
    this.#latest = read;
    this.#bytes += read.buffer.byteLength;
    if (this.#bytes < STEP_BYTES || this.#isStepScheduled) return;
    this.#isStepScheduled = true;
    runtime.afterMicrotasks(this.#step);
  }

  /** To be called for the first message that waits; again after copyOld() returned false. */
  add(sharer: Sharer): void {
    this.#sharers.push(sharer);
    this.#timer ??= startTimer(TICK_MS, this.#onTimer);
  }

  readonly #step = (): void => {
    this.#isStepScheduled = false;
    this.#bytes = 0;
    this.#latest = undefined;
    const sharers = this.#sharers;
    this.#sharers = [];
    for (const sharer of sharers) if (sharer.copyOld()) this.#sharers.push(sharer);
  };

  readonly #onTimer = (): void => {
    this.#step();
    this.#timer = this.#sharers.length > 0 ? startTimer(TICK_MS, this.#onTimer) : undefined;
  };
}

/** Those of this process. */
export const sharedBuffers = new SharedBuffers();
