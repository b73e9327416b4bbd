/** A frame of HTTP/2 (RFC 9113, 4.1). */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  /** With the reserved bit, which is 0 in what a correct peer sends. */
  readonly stream: number;
  readonly payload: Buffer;
}

const HEAD_BYTES = 9;

/** Cuts the bytes of a connection into frames, which may begin and end anywhere in a chunk. */
export class FrameSplitter {
  #skip: number;
  #rest: Buffer = Buffer.alloc(0);

  /** @param skip the bytes before the first frame, as of a preface */
  constructor(skip = 0) {
    this.#skip = skip;
  }

  /** The bytes of the frame that is not complete yet. */
  get restBytes(): number {
    return this.#rest.length;
  }

  /** Returns the frames that are complete now. */
  read(chunk: Buffer): Frame[] {
    const skipped = Math.min(this.#skip, chunk.length);
    this.#skip -= skipped;
    const news = chunk.subarray(skipped);
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, news]) : news;
    const frames: Frame[] = [];
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + bytes.readUIntBE(at, 3);
      if (bytes.length < end) break;
      frames.push({
        type: bytes.readUInt8(at + 3),
        flags: bytes.readUInt8(at + 4),
        stream: bytes.readUInt32BE(at + 5),
        payload: bytes.subarray(at + HEAD_BYTES, end),
      });
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return frames;
  }
}
