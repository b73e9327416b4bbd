/** An engine that plays a side of a transcript. */
import { HeaderDecoder } from "../../support/hpack.ts";
import { Type } from "../../support/wire.ts";
import { FrameSource, type ReadFrame } from "../transcripts/frames.ts";
import type { Chunk, Side } from "../transcripts/transcript.ts";
import { End } from "./end.ts";
import type { Cut } from "./link.ts";

/** As wide as the windows of the recorded programs are. */
const WINDOW_BYTES = 8 * 2 ** 20;

/**
 * Gives an engine the bytes of the other side. The engine sends what the recorded program sent, as soon as that program
 * had sent it: `sent` are the chunks of which that is true, `received` those that the engine gets in their places.
 */
export function replayed(
  role: Side,
  { sent, received, cut }: { sent: readonly Chunk[]; received: readonly Chunk[]; cut: Cut },
): End {
  const end = new End({
    role,
    streamWindowBytes: WINDOW_BYTES,
    connectionWindowBytes: WINDOW_BYTES,
    // tonic sends a ping every 10 ms.
    minPingIntervalMs: 0,
  });
  const own = new FrameSource(role, new HeaderDecoder());
  let at = 0;
  for (const [index, chunk] of sent.entries()) {
    if (end.end !== undefined) break;
    if (chunk.from === role) {
      for (const frame of own.read(chunk.bytes)) send(end, frame);
      end.takeOutput();
      continue;
    }
    const { bytes } = received[index] as Chunk;
    for (let from = 0; from < bytes.length; ) {
      const size = Math.max(1, cut(at, bytes.length - from));
      if (end.end === undefined) end.receive(bytes.subarray(from, from + size));
      from += size;
      at += size;
      end.takeOutput();
    }
  }
  return end;
}

/** Does what a frame of the recorded program means. */
function send(end: End, { type, stream: id, endStream, payload, fields = [] }: ReadFrame): void {
  const log = end.streams.find((one) => one.stream.id === id);
  const stream = log?.stream;
  if (type === Type.HEADERS && stream === undefined) {
    if (end.isClient) openWithId(end, id, fields.flat(), endStream);
  } else if (type === Type.HEADERS) {
    if (stream?.headersSent === false) stream.sendHeaders(fields.flat(), endStream);
    else stream?.end(fields.flat());
  } else if (type === Type.DATA) {
    if (payload.length > 0) log?.write(Buffer.from(payload));
    if (endStream) stream?.end();
  } else if (type === Type.RST_STREAM) {
    stream?.reset(payload.readUInt32BE(0));
  }
}

/** nghttp keeps the first ids for its tree of priorities: streams with these are opened, and reset. */
function openWithId(end: End, id: number, fields: readonly string[], endStream: boolean): void {
  while (end.connection.isUsable) {
    const { stream } = end.open(fields, {}, endStream);
    if (stream.id >= id) return;
    stream.reset(0);
    end.streams.pop();
  }
}
