import type { OutputBuffers } from "../../../src/http2/types.ts";

/** Buffers for output that are filled with 0xaa when they come back: bytes that are read later are then wrong. */
export class CheckedPool implements OutputBuffers {
  readonly violations: string[] = [];
  readonly #out = new Set<ArrayBufferLike>();
  readonly #returned = new WeakSet<ArrayBufferLike>();
  readonly #bytes: number;

  constructor(bytes = 64 * 1024) {
    this.#bytes = bytes;
  }

  /** How many buffers were taken and did not come back. */
  get taken(): number {
    return this.#out.size;
  }

  take(): Uint8Array<ArrayBuffer> {
    const buffer = new Uint8Array(this.#bytes);
    this.#out.add(buffer.buffer);
    return buffer;
  }

  giveBack(buffer: Uint8Array): void {
    // An engine makes larger buffers of its own for long header blocks, which come back too.
    this.#out.delete(buffer.buffer);
    if (this.#returned.has(buffer.buffer)) this.violations.push("a buffer came back twice");
    this.#returned.add(buffer.buffer);
    new Uint8Array(buffer.buffer).fill(0xaa);
  }
}
