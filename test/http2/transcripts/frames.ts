/** Reads frames by test/support: independently of the engine. */
import { type Frame, FrameSplitter } from "../../support/frame-splitter.ts";
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
  readonly #splitter: FrameSplitter;
  #block: Buffer[] = [];
  #blockEndsStream = false;

  constructor(from: Side, decoder: HeaderDecoder) {
    this.#splitter = new FrameSplitter(from === "client" ? PREFACE.length : 0);
    this.#decoder = decoder;
  }

  /** Returns the frames that are complete now. */
  read(chunk: Buffer): ReadFrame[] {
    const frames: ReadFrame[] = [];
    for (const frame of this.#splitter.read(chunk)) {
      const read = this.#frame(frame);
      if (read !== undefined) frames.push(read);
    }
    return frames;
  }

  #frame({ type, flags, stream, payload: whole }: Frame): ReadFrame | undefined {
    let payload = whole;
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
