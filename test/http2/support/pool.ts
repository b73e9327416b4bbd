import type { OutputBuffers } from "../../../src/http2/types.ts";

/** Buffers for output that are filled with 0xaa when they come back: bytes that are read later are then wrong. */
export class CheckedPool implements OutputBuffers {
  readonly violations: string[] = [];
  readonly #out = new Set<ArrayBufferLike>();
  readonly #returned = new WeakSet<ArrayBufferLike>();
  readonly maxBytes = 64 * 1024;

  /** How many buffers were taken and did not come back. */
  get taken(): number {
    return this.#out.size;
  }

  /** Small, so that outputs grow. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const buffer = new Uint8Array(Math.max(bytes, 1024));
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
