/** Frames that a correct peer never sends, and what RFC 9113 and RFC 7541 ask of who receives them. */
import { encodeHeaders } from "../../support/hpack.ts";
import {
  data,
  Flag,
  frame,
  goaway,
  Http2Code,
  headers,
  PREFACE,
  rst,
  settings,
  Type,
  uint32,
  windowUpdate,
} from "../../support/wire.ts";
import { malformed } from "./malformed.ts";
import { requestFrame } from "./raw-peer.ts";

const { PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, COMPRESSION_ERROR } =
  Http2Code;

export interface Violation {
  readonly what: string;
  /** Whether the engine is the server, the client (with a request open on stream 1), or both in turn. */
  readonly to: "server" | "client" | "both";
  readonly bytes: readonly Buffer[];
  /** The code of GOAWAY; of RST_STREAM on stream 1; or that nothing happens. */
  readonly goaway?: number;
  readonly reset?: number;
  readonly ignored?: true;
}

const bytes = (length: number) => Buffer.alloc(length);
/** A request that is answered with headers and a message, and is not ended. */
const open = requestFrame(1, "/endless");
const ended = requestFrame(1, "/endless", true);

/** Frames of the connection that have a wrong size. */
const sizes = (
  [
    ["SETTINGS", 5],
    ["PING", 7],
    ["GOAWAY", 7],
    ["WINDOW_UPDATE", 3],
  ] as const
).map(
  ([type, size]): Violation => ({
    what: `${type} of ${size} bytes`,
    to: "both",
    bytes: [frame(Type[type], 0, 0, bytes(size))],
    goaway: FRAME_SIZE_ERROR,
  }),
);

const connection: Violation[] = [
  ...sizes,
  { what: "DATA on stream 0", to: "both", bytes: [data(0)], goaway: PROTOCOL_ERROR },
  { what: "HEADERS on stream 0", to: "both", bytes: [headers(0, [])], goaway: PROTOCOL_ERROR },
  {
    what: "PRIORITY on stream 0",
    to: "both",
    bytes: [frame(Type.PRIORITY, 0, 0, bytes(5))],
    goaway: PROTOCOL_ERROR,
  },
  { what: "RST_STREAM on stream 0", to: "both", bytes: [rst(0, 0)], goaway: PROTOCOL_ERROR },
  {
    what: "RST_STREAM of 3 bytes",
    to: "both",
    bytes: [open, frame(Type.RST_STREAM, 0, 1, bytes(3))],
    goaway: FRAME_SIZE_ERROR,
  },
  {
    what: "SETTINGS on a stream",
    to: "both",
    bytes: [frame(Type.SETTINGS, 0, 1)],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "an acknowledgement of SETTINGS with a payload",
    to: "both",
    bytes: [frame(Type.SETTINGS, Flag.ACK, 0, bytes(6))],
    goaway: FRAME_SIZE_ERROR,
  },
  {
    what: "SETTINGS_ENABLE_PUSH of 2",
    to: "both",
    bytes: [settings({ 2: 2 })],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "SETTINGS_ENABLE_PUSH of a server",
    to: "client",
    bytes: [settings({ 2: 1 })],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "SETTINGS_INITIAL_WINDOW_SIZE of 2^31",
    to: "both",
    bytes: [settings({ 4: 2 ** 31 })],
    goaway: FLOW_CONTROL_ERROR,
  },
  {
    what: "SETTINGS_MAX_FRAME_SIZE of 16,383",
    to: "both",
    bytes: [settings({ 5: 16_383 })],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "SETTINGS_MAX_FRAME_SIZE of 2^24",
    to: "both",
    bytes: [settings({ 5: 2 ** 24 })],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "PUSH_PROMISE",
    to: "both",
    bytes: [
      frame(Type.PUSH_PROMISE, Flag.END_HEADERS, 1, Buffer.concat([uint32(2), encodeHeaders([])])),
    ],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "PING on a stream",
    to: "both",
    bytes: [frame(Type.PING, 0, 1, bytes(8))],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "GOAWAY on a stream",
    to: "both",
    bytes: [frame(Type.GOAWAY, 0, 1, bytes(8))],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "WINDOW_UPDATE by 0 on the connection",
    to: "both",
    bytes: [windowUpdate(0, 0)],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "a connection window over 2^31 - 1",
    to: "both",
    bytes: [windowUpdate(0, 2 ** 31 - 1)],
    goaway: FLOW_CONTROL_ERROR,
  },
  {
    what: "a frame of 16,385 bytes",
    to: "both",
    bytes: [frame(Type.UNKNOWN, 0, 0, bytes(16_385))],
    goaway: FRAME_SIZE_ERROR,
  },
  {
    what: "CONTINUATION without HEADERS",
    to: "both",
    bytes: [frame(Type.CONTINUATION, Flag.END_HEADERS, 1)],
    goaway: PROTOCOL_ERROR,
  },
];

/** A header block that is not ended. */
const unfinished = frame(Type.HEADERS, 0, 3, encodeHeaders([[":method", "GET"]]));

const blocks: Violation[] = [
  {
    what: "DATA in a header block",
    to: "server",
    bytes: [open, unfinished, data(1)],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "PING in a header block",
    to: "server",
    bytes: [unfinished, frame(Type.PING, 0, 0, bytes(8))],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "an unknown frame in a header block",
    to: "server",
    bytes: [unfinished, frame(Type.UNKNOWN, 0, 0)],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "CONTINUATION of another stream",
    to: "server",
    bytes: [unfinished, frame(Type.CONTINUATION, Flag.END_HEADERS, 5)],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "HEADERS in a header block",
    to: "server",
    bytes: [unfinished, requestFrame(5, "/echo")],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "a header block that is no HPACK",
    to: "server",
    bytes: [frame(Type.HEADERS, Flag.END_HEADERS, 1, Buffer.of(0x80))],
    goaway: COMPRESSION_ERROR,
  },
  {
    what: "a header block that ends in a field",
    to: "server",
    bytes: [frame(Type.HEADERS, Flag.END_HEADERS, 1, Buffer.of(0x40, 0x05))],
    goaway: COMPRESSION_ERROR,
  },
  {
    what: "an update of the table over its limit",
    to: "server",
    bytes: [frame(Type.HEADERS, Flag.END_HEADERS, 1, Buffer.of(0x3f, 0xff, 0xff, 0x7f))],
    goaway: COMPRESSION_ERROR,
  },
  {
    what: "padding over the frame's length",
    to: "server",
    bytes: [frame(Type.HEADERS, Flag.END_HEADERS | Flag.PADDED, 1, Buffer.of(9, 0x82))],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "DATA with padding over its length",
    to: "server",
    bytes: [open, frame(Type.DATA, Flag.PADDED, 1, Buffer.of(2, 0))],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "DATA with padding over its length, before the response headers",
    to: "client",
    bytes: [frame(Type.DATA, Flag.PADDED, 1, Buffer.of(2, 0))],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "DATA with padding over its length, for a stream that was reset",
    to: "server",
    bytes: [open, rst(1, 8), frame(Type.DATA, Flag.PADDED, 1, Buffer.of(2, 0))],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "padded DATA of 0 bytes, for a stream that was reset",
    to: "server",
    bytes: [open, rst(1, 8), frame(Type.DATA, Flag.PADDED, 1)],
    goaway: FRAME_SIZE_ERROR,
  },
];

const states: Violation[] = [
  {
    what: "a request on an even stream",
    to: "server",
    bytes: [requestFrame(2, "/echo")],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "a request on an id before the last one",
    to: "server",
    bytes: [requestFrame(3, "/echo"), requestFrame(1, "/endless")],
    // A lower id counts as closed (RFC 9113, 5.1.1).
    goaway: STREAM_CLOSED,
  },
  { what: "DATA on an idle stream", to: "both", bytes: [data(7)], goaway: PROTOCOL_ERROR },
  { what: "RST_STREAM on an idle stream", to: "both", bytes: [rst(7, 0)], goaway: PROTOCOL_ERROR },
  {
    what: "WINDOW_UPDATE on an idle stream",
    to: "both",
    bytes: [windowUpdate(7, 1)],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "HEADERS of a server on a stream that was not opened",
    to: "client",
    bytes: [headers(7, [[":status", "200"]])],
    goaway: PROTOCOL_ERROR,
  },
  {
    what: "HEADERS of a server on an even stream",
    to: "client",
    bytes: [headers(2, [[":status", "200"]])],
    goaway: PROTOCOL_ERROR,
  },
  { what: "DATA after END_STREAM", to: "server", bytes: [ended, data(1)], reset: STREAM_CLOSED },
  {
    what: "HEADERS after END_STREAM",
    to: "server",
    bytes: [ended, headers(1, [["x", "y"]], true)],
    reset: STREAM_CLOSED,
  },
  {
    what: "trailers without END_STREAM",
    to: "server",
    bytes: [open, headers(1, [["x", "y"]])],
    reset: PROTOCOL_ERROR,
  },
  {
    what: "a window over 2^31 - 1",
    to: "server",
    bytes: [open, windowUpdate(1, 2 ** 31 - 1)],
    reset: FLOW_CONTROL_ERROR,
  },
  {
    what: "WINDOW_UPDATE by 0 on a stream",
    to: "server",
    bytes: [open, windowUpdate(1, 0)],
    reset: PROTOCOL_ERROR,
  },
  {
    what: "PRIORITY of 4 bytes",
    to: "server",
    bytes: [open, frame(Type.PRIORITY, 0, 1, bytes(4))],
    // A stream error is enough (RFC 9113, 6.3), and a connection error is allowed (5.4.1).
    goaway: FRAME_SIZE_ERROR,
  },
  {
    what: "a stream that depends on itself",
    to: "server",
    bytes: [open, frame(Type.PRIORITY, 0, 1, Buffer.concat([uint32(1), bytes(1)]))],
    goaway: PROTOCOL_ERROR,
  },
];

const ignored: Violation[] = [
  {
    what: "an unknown frame",
    to: "both",
    bytes: [frame(Type.UNKNOWN, 0xff, 1, bytes(10))],
    ignored: true,
  },
  { what: "an unknown setting", to: "both", bytes: [settings({ 61680: 7 })], ignored: true },
  {
    what: "a PRIORITY on an idle stream",
    to: "server",
    bytes: [frame(Type.PRIORITY, 0, 9, bytes(5))],
    ignored: true,
  },
  {
    what: "undefined flags",
    to: "both",
    bytes: [frame(Type.PING, 0xfe, 0, bytes(8))],
    ignored: true,
  },
  {
    what: "the answer to a PING that was not sent",
    to: "both",
    bytes: [frame(Type.PING, Flag.ACK, 0, bytes(8))],
    ignored: true,
  },
  {
    what: "a GOAWAY with an unknown code",
    to: "client",
    bytes: [goaway(2 ** 31 - 1, 0xff)],
    ignored: true,
  },
  {
    what: "frames of a stream that the peer has reset",
    to: "server",
    bytes: [open, rst(1, 8), windowUpdate(1, 5), frame(Type.PRIORITY, 0, 1, bytes(5))],
    ignored: true,
  },
];

export const violations: readonly Violation[] = [
  ...connection,
  ...blocks,
  ...states,
  ...malformed,
  ...ignored,
];

/** Beginnings of a connection that are no HTTP/2. */
export const prefaces: readonly { what: string; to: "server" | "client"; bytes: Buffer[] }[] = [
  {
    what: "a preface with another byte",
    to: "server",
    bytes: [Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"), settings()],
  },
  {
    what: "an HTTP/1.1 request",
    to: "server",
    bytes: [Buffer.from("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")],
  },
  {
    what: "a preface without SETTINGS",
    to: "server",
    bytes: [PREFACE, frame(Type.PING, 0, 0, bytes(8))],
  },
  { what: "no SETTINGS at first", to: "client", bytes: [frame(Type.PING, 0, 0, bytes(8))] },
  {
    what: "an acknowledgement as the first SETTINGS",
    to: "client",
    bytes: [frame(Type.SETTINGS, Flag.ACK, 0)],
  },
  {
    what: "an HTTP/1.1 response",
    to: "client",
    bytes: [Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
  },
];
