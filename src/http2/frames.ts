/** The numbers of HTTP/2 (RFC 9113, 6, 7 and 11), and integers in network order. */

/** Frame types. */
export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

const FRAME_NAMES = [
  ...["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS"],
  ...["PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"],
];

/** The name of a frame type, for the reason of an error. */
export const frameName = (type: number): string => FRAME_NAMES[type] ?? `frame of type ${type}`;

/** Frame flags. */
export const END_STREAM = 0x01;
export const ACK = 0x01;
export const END_HEADERS = 0x04;
export const PADDED = 0x08;
export const HAS_PRIORITY = 0x20;

/** Error codes. */
export const NO_ERROR = 0;
export const PROTOCOL_ERROR = 1;
export const INTERNAL_ERROR = 2;
export const FLOW_CONTROL_ERROR = 3;
export const SETTINGS_TIMEOUT = 4;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6;
export const REFUSED_STREAM = 7;
export const CANCEL = 8;
export const COMPRESSION_ERROR = 9;
export const ENHANCE_YOUR_CALM = 11;
export const INADEQUATE_SECURITY = 12;
export const HTTP_1_1_REQUIRED = 13;

/** A frame begins with its length (3 bytes), type, flags, and stream id (4). */
export const HEAD_BYTES = 9;

/** The longest payload of a frame that this side takes (SETTINGS_MAX_FRAME_SIZE is not changed), and sends. */
export const MAX_FRAME_BYTES = 16_384;

/** The window of a stream and of a connection before any SETTINGS and WINDOW_UPDATE (RFC 9113, 6.9.2). */
export const DEFAULT_WINDOW_BYTES = 65_535;

/** The largest window. */
export const MAX_WINDOW_BYTES = 2 ** 31 - 1;

export const MAX_STREAM_ID = 2 ** 31 - 1;

/** What a client sends first (RFC 9113, 3.4). */
export const PREFACE: Uint8Array = Uint8Array.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (c) =>
  c.charCodeAt(0),
);

/** Reads four bytes as an unsigned integer. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return readUint31(bytes, at) + ((bytes[at] as number) >= 0x80 ? 2 ** 31 : 0);
}

/** Reads four bytes without their highest bit, which is reserved in stream ids and window increments. */
export function readUint31(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) & 0x7f) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Below this length a loop copies faster than TypedArray.set(). */
export const SHORT_COPY_BYTES = 48;

/** Copies all of `from` into `to`, to begin at `at`. */
export function copyBytes(from: Uint8Array, to: Uint8Array, at: number): void {
  const { length } = from;
  if (length > SHORT_COPY_BYTES) to.set(from, at);
  else for (let i = 0; i < length; i++) to[at + i] = from[i] as number;
}
