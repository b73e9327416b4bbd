import type { Http2Connection } from "../http2/types.ts";

/** What was received on a connection and is not handled yet, in order. */
export class UnreadInput {
  readonly #chunks: Uint8Array[];
  /** Where the part of the first chunk begins that is not handled. */
  #at: number;
  /** Whether the input waits for a later slice. */
  isWaiting = false;
  /** Whether the pipe is not read meanwhile. */
  isPaused = false;
  /** When the latest frames were begun, in the milliseconds of their slice. */
  beganMs = 0;
  /** What the pipe has reported, to be called when nothing is unread any more. */
  onEnd: (() => void) | undefined;
  onClosed: (() => void) | undefined;

  constructor(chunk: Uint8Array, at: number) {
    this.#chunks = at < chunk.length ? [chunk] : [];
    this.#at = at < chunk.length ? at : 0;
  }

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
  }

  /** Has the connection handle at most `maxFrames` frames. */
  read(connection: Http2Connection, maxFrames: number): void {
    const chunk = this.#chunks[0] as Uint8Array;
    this.#at = connection.receive(chunk, this.#at, maxFrames);
    if (this.#at < chunk.length) return;
    this.#chunks.shift();
    this.#at = 0;
  }
}
