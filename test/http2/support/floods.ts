/** Floods of a client: frames that cost a server something and bring nothing. The attacks use them over sockets, too. */
import { encodeHeaders, type Header } from "../../support/hpack.ts";
import {
  Flag,
  frame,
  Http2Code,
  headers,
  rst,
  settings,
  Type,
  windowUpdate,
} from "../../support/wire.ts";
import { request } from "./exchanges.ts";
import { pairsOf, requestFrame } from "./raw-peer.ts";

export interface Flood {
  readonly name: string;
  /** What is sent before the flood; the requests have the path that is given. */
  readonly before?: (path: string) => Buffer[];
  /** The nth part of the flood, of which each counts as a frame of it. */
  readonly part: (n: number, path: string) => Buffer[];
  /** Whether the flood is a header block, in which no other frame may come. */
  readonly isBlock?: true;
  /** Whether a part has so many bytes that reading them is most of what it costs. */
  readonly isLarge?: true;
}

const streamOf = (n: number) => 2 * n + 1;
const NOTHING = Buffer.alloc(0);

function fieldsOf(path: string): Header[] {
  return pairsOf(request(path));
}

/** A request that stays open. */
const opened = (path: string) => [requestFrame(1, path)];

/** A literal that enters the dynamic table. */
function indexed(name: string, value: string): Buffer {
  const [, ...rest] = encodeHeaders([[name, value]]);
  return Buffer.from([0x40, ...rest]);
}

/** How often a header block of the expansion refers to a field of 3,800 bytes: under 64 KiB in all. */
const REFERENCES = 16;

export const floods: readonly Flood[] = [
  {
    name: "requests that are reset at once",
    part: (n, path) => [requestFrame(streamOf(n), path), rst(streamOf(n), Http2Code.CANCEL)],
  },
  {
    name: "requests with wrong headers, which the server resets",
    part: (n) => [headers(streamOf(n), [[":method", "POST"]], true)],
  },
  {
    name: "requests that a WINDOW_UPDATE by 0 makes the server reset",
    part: (n, path) => [requestFrame(streamOf(n), path), windowUpdate(streamOf(n), 0)],
  },
  {
    name: "requests that a window over 2^31 - 1 makes the server reset",
    part: (n, path) => [requestFrame(streamOf(n), path), windowUpdate(streamOf(n), 2 ** 31 - 1)],
  },
  { name: "PING", part: () => [frame(Type.PING, 0, 0, Buffer.alloc(8))] },
  { name: "answers to no PING", part: () => [frame(Type.PING, Flag.ACK, 0, Buffer.alloc(8))] },
  { name: "SETTINGS", part: () => [settings()] },
  {
    name: "SETTINGS with 32 unknown ids",
    part: () => [
      settings(Object.fromEntries(Array.from({ length: 32 }, (_, i) => [0x100 + i, i]))),
    ],
  },
  { name: "acknowledgements of no SETTINGS", part: () => [frame(Type.SETTINGS, Flag.ACK, 0)] },
  {
    name: "empty CONTINUATION",
    isBlock: true,
    before: () => [frame(Type.HEADERS, 0, 1)],
    part: () => [frame(Type.CONTINUATION, 0, 1)],
  },
  {
    name: "CONTINUATION with a field each",
    isBlock: true,
    before: () => [frame(Type.HEADERS, 0, 1)],
    part: (n) => [frame(Type.CONTINUATION, 0, 1, encodeHeaders([[`x-${n}`, "value"]]))],
  },
  { name: "empty DATA", before: opened, part: () => [frame(Type.DATA, 0, 1)] },
  {
    name: "DATA that is padding",
    before: opened,
    part: () => [
      frame(Type.DATA, Flag.PADDED, 1, Buffer.concat([Buffer.of(20), Buffer.alloc(20)])),
    ],
  },
  {
    name: "DATA of one byte",
    // Of a message that is never complete.
    before: (path) => [...opened(path), frame(Type.DATA, 0, 1, Buffer.of(0, 0, 0x3f, 0xff, 0xff))],
    part: () => [frame(Type.DATA, 0, 1, Buffer.alloc(1))],
  },
  { name: "WINDOW_UPDATE of the connection", part: () => [windowUpdate(0, 1)] },
  { name: "WINDOW_UPDATE of a stream", before: opened, part: () => [windowUpdate(1, 1)] },
  { name: "PRIORITY", part: (n) => [frame(Type.PRIORITY, 0, streamOf(n), Buffer.alloc(5))] },
  { name: "unknown frames", part: () => [frame(Type.UNKNOWN, 0, 0, NOTHING)] },
  {
    name: "header blocks that expand from the dynamic table",
    before: (path) => {
      const first = [encodeHeaders(fieldsOf(path)), indexed("x-large", "v".repeat(3800))];
      return [frame(Type.HEADERS, Flag.END_HEADERS, 1, Buffer.concat(first))];
    },
    part: (n, path) => {
      const block = [encodeHeaders(fieldsOf(path)), Buffer.alloc(REFERENCES, 0x80 | 62)];
      return [frame(Type.HEADERS, Flag.END_HEADERS, streamOf(n + 1), Buffer.concat(block))];
    },
  },
  {
    name: "header lists that are too large",
    isLarge: true,
    part: (n, path) => [
      ...[frame(Type.HEADERS, Flag.END_STREAM, streamOf(n), encodeHeaders(fieldsOf(path)))],
      ...Array.from({ length: 4 }, () =>
        frame(Type.CONTINUATION, 0, streamOf(n), encodeHeaders([["x-large", "v".repeat(16_000)]])),
      ),
      frame(
        Type.CONTINUATION,
        Flag.END_HEADERS,
        streamOf(n),
        encodeHeaders([["x-large", "v".repeat(9000)]]),
      ),
    ],
  },
];
