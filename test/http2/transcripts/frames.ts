/** Reads frames by test/support: independently of the engine. */
import type { Header, HeaderDecoder } from "../../support/hpack.ts";
import { Flag, PREFACE, Type } from "../../support/wire.ts";
import type { Side } from "./transcript.ts";

/** A frame whose padding and priority were removed, with what a header block decodes to. */
export interface ReadFrame {
  readonly type: number;
  readonly stream: number;
  readonly isAck: boolean;
  readonly endStream: boolean;
  readonly payload: Buffer;
  /** Of HEADERS, with its CONTINUATIONs. */
  readonly fields?: readonly Header[];
}

/** Reads the frames of one side, from chunks of any size. */
export class FrameSource {
  readonly #decoder: HeaderDecoder;
  #skip: number;
  #rest: Buffer = Buffer.alloc(0);
  #block: Buffer[] = [];
  #blockEndsStream = false;

  constructor(from: Side, decoder: HeaderDecoder) {
    this.#skip = from === "client" ? PREFACE.length : 0;
    this.#decoder = decoder;
  }

  /** Returns the frames that are complete now. */
  read(chunk: Buffer): ReadFrame[] {
    const skipped = Math.min(this.#skip, chunk.length);
    this.#skip -= skipped;
    this.#rest = Buffer.concat([this.#rest, chunk.subarray(skipped)]);
    const frames: ReadFrame[] = [];
    while (this.#rest.length >= 9) {
      const end = 9 + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < end) break;
      const read = this.#frame(this.#rest.subarray(0, end));
      if (read !== undefined) frames.push(read);
      this.#rest = this.#rest.subarray(end);
    }
    return frames;
  }

  #frame(bytes: Buffer): ReadFrame | undefined {
    const type = bytes.readUInt8(3);
    const flags = bytes.readUInt8(4);
    const stream = bytes.readUInt32BE(5) & 0x7fffffff;
    let payload = bytes.subarray(9);
    if ((type === Type.DATA || type === Type.HEADERS) && flags & Flag.PADDED) {
      payload = payload.subarray(1, payload.length - payload.readUInt8(0));
    }
    if (type === Type.HEADERS && flags & Flag.PRIORITY) payload = payload.subarray(5);
    const endStream =
      (type === Type.DATA || type === Type.HEADERS) && (flags & Flag.END_STREAM) !== 0;
    const isAck = (type === Type.SETTINGS || type === Type.PING) && (flags & Flag.ACK) !== 0;
    if (type !== Type.HEADERS && type !== Type.CONTINUATION) {
      return { type, stream, isAck, endStream, payload };
    }
    this.#block.push(payload);
    if (type === Type.HEADERS) this.#blockEndsStream = endStream;
    if ((flags & Flag.END_HEADERS) === 0) return undefined;
    const block = Buffer.concat(this.#block);
    this.#block = [];
    const fields = this.#decoder.decode(block);
    return {
      type: Type.HEADERS,
      stream,
      isAck,
      endStream: this.#blockEndsStream,
      payload: block,
      fields,
    };
  }
}
