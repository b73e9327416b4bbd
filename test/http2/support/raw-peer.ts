import { encodeHeaders, type Header, HeaderDecoder } from "../../support/hpack.ts";
import { Flag, frame, PREFACE, settings, Type } from "../../support/wire.ts";
import { FrameSource, type ReadFrame } from "../transcripts/frames.ts";
import { End, type EndOptions } from "./end.ts";
import { request } from "./exchanges.ts";

/** An engine, opposite to which a test writes frames by test/support/wire.ts, and reads those of the engine. */
export class RawPeer {
  readonly end: End;
  /** All frames of the engine so far. */
  readonly frames: ReadFrame[] = [];
  readonly #source: FrameSource;

  constructor(options: EndOptions) {
    this.end = new End(options);
    this.#source = new FrameSource(options.role, new HeaderDecoder());
  }

  /** Writes the preface of a client, or of a server, and acknowledges the engine's SETTINGS. */
  begin(): this {
    const acknowledgement = frame(Type.SETTINGS, Flag.ACK, 0);
    if (this.end.isClient) this.read().write(settings(), acknowledgement);
    else this.read().write(PREFACE, settings(), acknowledgement);
    return this;
  }

  /** Writes all parts in one piece. */
  write(...parts: readonly Uint8Array[]): this {
    if (this.end.end === undefined) this.end.receive(Buffer.concat(parts));
    return this.read();
  }

  /** Reads what the engine has written. */
  read(): this {
    this.frames.push(...this.#source.read(this.end.takeOutput()));
    return this;
  }

  of(type: number, stream?: number): readonly ReadFrame[] {
    return this.frames.filter((f) => f.type === type && (stream ?? f.stream) === f.stream);
  }

  /** The code of the engine's GOAWAY by which it ended the connection. */
  get goaway(): number | undefined {
    return this.of(Type.GOAWAY).at(-1)?.payload.readUInt32BE(4);
  }

  /** The code of the engine's RST_STREAM. */
  reset(stream: number): number | undefined {
    return this.of(Type.RST_STREAM, stream)[0]?.payload.readUInt32BE(0);
  }

  /** Whether the engine has answered the stream to its end. */
  isAnswered(stream: number): boolean {
    return this.frames.some((f) => f.stream === stream && f.endStream);
  }
}

/** HEADERS of a request. */
export function requestFrame(stream: number, path: string, end = false, ...more: string[]): Buffer {
  const key = [path, ...more].join("\n");
  let block = blocks.get(key);
  if (block === undefined) {
    block = encodeHeaders(pairsOf(request(path, ...more)));
    if (blocks.size < 100) blocks.set(key, block);
  }
  const flags = Flag.END_HEADERS | (end ? Flag.END_STREAM : 0);
  return frame(Type.HEADERS, flags, stream, block);
}

/** Thousands of requests have the same block. */
const blocks = new Map<string, Buffer>();

/** Alternating names and values as pairs. */
export function pairsOf(list: readonly string[]): Header[] {
  return list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1] as string] as const] : []));
}
