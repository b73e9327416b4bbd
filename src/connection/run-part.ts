import type { SharedFrame } from "../call-stream.ts";
import type { FramedSource } from "../session/spool.ts";

/** A longer part is written immediately. */
const MAX_BYTES = 8 * 1024;

/** Messages that follow one another in a run of shared messages, and have not been written: one piece. */
export class RunPart implements FramedSource {
  #bytes: Uint8Array | undefined;
  start = 0;
  end = 0;

  get isGrowing(): boolean {
    return this.end - this.start < MAX_BYTES;
  }

  /** Adds a message if it follows the others in their run. */
  extend({ run, start, end }: SharedFrame): boolean {
    if (this.#bytes === undefined || this.#bytes !== run.bytes || this.end !== start) return false;
    this.end = end;
    return true;
  }

  /** Begins with a message. */
  begin(bytes: Uint8Array, { start, end }: SharedFrame): void {
    this.#bytes = bytes;
    this.start = start;
    this.end = end;
  }

  next(): Uint8Array | undefined {
    const bytes = this.#bytes;
    this.#bytes = undefined;
    return bytes;
  }
}
