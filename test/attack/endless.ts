/** Calls whose clients send without end, as fast as the server takes it. */
import { request } from "../support/request.ts";
import { data } from "../support/wire.ts";
import type { RawClient } from "./raw.ts";

/** The window that streams and connections begin with (RFC 9113, 6.9.2), and the largest frame (6.5.2). */
const FIRST_WINDOW_BYTES = 65_535;
const MOST_FRAME_BYTES = 16_384;

export interface EndlessCalls {
  readonly streams: number;
  /** Makes the frame that opens a stream. */
  open(stream: number): Buffer;
  /** What each stream sends again and again. */
  readonly content: Buffer;
}

/** Opens calls of Chat that send the framed message without end. */
export function sendEchoes(client: RawClient, content: Buffer, streams: number): void {
  sendEndlessly(client, { streams, content, open: (stream) => request(stream, "Chat") });
}

/** Opens the streams, and sends the content again and again on each, as fast as the server takes it, while it is open. */
export function sendEndlessly(client: RawClient, { streams, open, content }: EndlessCalls): void {
  const windows = new Map<number, number>();
  let connectionWindow = FIRST_WINDOW_BYTES;
  /** The bytes of `content` that were sent, if it was not sent whole. */
  const sent = new Map<number, number>();
  const send = (stream: number) => {
    const parts: Buffer[] = [];
    let window = Math.min(windows.get(stream) ?? 0, connectionWindow);
    for (let bytes = 0; window > 0; window -= bytes) {
      const from = sent.get(stream) ?? 0;
      bytes = Math.min(content.length - from, window, MOST_FRAME_BYTES);
      parts.push(data(stream, content.subarray(from, from + bytes)));
      sent.set(stream, (from + bytes) % content.length);
      windows.set(stream, (windows.get(stream) ?? 0) - bytes);
      connectionWindow -= bytes;
    }
    if (parts.length > 0) client.write(...parts);
  };
  client.onEnd = (stream) => windows.delete(stream);
  client.onWindow = (stream, bytes) => {
    if (stream === 0) {
      connectionWindow += bytes;
      for (const open of windows.keys()) if (connectionWindow > 0) send(open);
    } else if (windows.has(stream)) {
      windows.set(stream, (windows.get(stream) ?? 0) + bytes);
      send(stream);
    }
  };
  for (let stream = 1; stream < 2 * streams; stream += 2) {
    client.write(open(stream));
    windows.set(stream, FIRST_WINDOW_BYTES);
  }
  for (const stream of [...windows.keys()]) send(stream);
}
