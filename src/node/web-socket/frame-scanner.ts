/** Bits of the first two bytes of a frame (RFC 6455, 5.2). */
const FIN = 0x80;
const CONTROL = 0x08;
const SHORT_LENGTH = 0x7f;

/** What stands in place of a short length if two bytes, or eight, follow with the length. */
const LENGTH_16 = 126;
const LENGTH_64 = 127;

/** The bytes of a head without those of a long length: two, and the mask that each frame of a client has. */
const LEAST_HEAD_BYTES = 6;

/** A fragment with fewer bytes cannot hold the head of a frame of HTTP/2. */
const LEAST_FRAGMENT_BYTES = 9;

/**
 * Follows the frames that a client sends in a WebSocket: where they end, not what is in them. `ws` reads them, and refuses what
 * is not valid, but does not tell what it holds of a message that is not complete.
 */
export class FrameScanner {
  /** How many fragments were no larger than a flood makes them, and were followed by others of their messages. */
  tinyFragments = 0;
  /** How many bytes of the head of a frame have come; 0 between two frames. */
  #headBytes = 0;
  #lengthBytes = 0;
  /** The bytes of the content of the frame that have not come. */
  #contentBytes = 0;
  #isFinal = false;
  #isControl = false;
  /** Whether the last fragment of a message has not ended. */
  #isFragmented = false;

  /** Whether a frame or a message is not complete. */
  get isIncomplete(): boolean {
    return this.#headBytes > 0 || this.#isFragmented;
  }

  /** Returns whether nothing was incomplete, at the beginning of the chunk or after some of its frames. */
  scan(chunk: Uint8Array): boolean {
    let wasComplete = !this.isIncomplete;
    for (let at = 0; at < chunk.length; ) {
      if (this.#headBytes < LEAST_HEAD_BYTES + this.#lengthBytes) {
        this.#onHead(chunk[at++] as number);
      } else {
        const bytes = Math.min(this.#contentBytes, chunk.length - at);
        this.#contentBytes -= bytes;
        at += bytes;
      }
      if (this.#contentBytes > 0 || this.#headBytes < LEAST_HEAD_BYTES + this.#lengthBytes)
        continue;
      this.#onFrame();
      wasComplete ||= !this.#isFragmented;
    }
    return wasComplete;
  }

  #onHead(byte: number): void {
    const index = this.#headBytes++;
    if (index === 0) {
      this.#isFinal = (byte & FIN) !== 0;
      this.#isControl = (byte & CONTROL) !== 0;
    } else if (index === 1) {
      const length = byte & SHORT_LENGTH;
      this.#lengthBytes = length === LENGTH_64 ? 8 : length === LENGTH_16 ? 2 : 0;
      this.#contentBytes = this.#lengthBytes === 0 ? length : 0;
    } else if (index < 2 + this.#lengthBytes) this.#contentBytes = this.#contentBytes * 256 + byte;
    if (this.#headBytes < LEAST_HEAD_BYTES + this.#lengthBytes) return;
    const isTiny = this.#contentBytes < LEAST_FRAGMENT_BYTES;
    if (isTiny && !this.#isFinal && !this.#isControl) this.tinyFragments++;
  }

  #onFrame(): void {
    this.#headBytes = 0;
    this.#lengthBytes = 0;
    if (!this.#isControl) this.#isFragmented = !this.#isFinal;
  }
}
