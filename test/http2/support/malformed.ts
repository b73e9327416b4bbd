/** Headers that RFC 9113 does not allow, and content that does not fit them. */
import { data, Http2Code, headers } from "../../support/wire.ts";
import { request } from "./exchanges.ts";
import { pairsOf, requestFrame } from "./raw-peer.ts";
import type { Violation } from "./violations.ts";

const { PROTOCOL_ERROR } = Http2Code;

const bytes = (length: number) => Buffer.alloc(length);
/** A request that is answered with headers and a message, and is not ended. */
const open = requestFrame(1, "/endless");

/** The request headers without one, or with others. */
function requestBut(change: (list: string[]) => string[]): Buffer {
  const list = change(request("/endless"));
  return headers(1, pairsOf(list));
}

const without = (name: string) => (list: string[]) =>
  list.filter((_, i) => list[i - (i % 2)] !== name);
const plus =
  (...more: string[]) =>
  (list: string[]) => [...list, ...more];

export const malformed: readonly Violation[] = [
  ...[":method", ":scheme", ":path"].map((name) => ({
    what: `a request without ${name}`,
    to: "server" as const,
    bytes: [requestBut(without(name))],
    reset: PROTOCOL_ERROR,
  })),
  ...(
    [
      ["a second :path", plus(":path", "/other")],
      [
        "a pseudo-header field after others",
        (list: string[]) => [...list.slice(2), ...list.slice(0, 2)],
      ],
      ["an unknown pseudo-header field", (list: string[]) => [":unknown", "x", ...list]],
      ["a :status in a request", (list: string[]) => [":status", "200", ...list]],
      ["an empty :path", (list: string[]) => list.map((text) => (text === "/endless" ? "" : text))],
      ["a name in upper case", plus("X-Upper", "yes")],
      ["an empty name", plus("", "yes")],
      ["a space in a name", plus("x y", "yes")],
      ["a colon in a name", plus("x:y", "yes")],
      ["a NUL in a value", plus("x", "a\0b")],
      ["a line feed in a value", plus("x", "a\nb")],
      ["a carriage return in a value", plus("x", "a\rb")],
      ["a space at the beginning of a value", plus("x", " a")],
      ["a tab at the end of a value", plus("x", "a\t")],
      ["connection", plus("connection", "close")],
      ["transfer-encoding", plus("transfer-encoding", "chunked")],
      ["te other than trailers", plus("te", "gzip")],
      ["a content-length that is no number", plus("content-length", "x")],
    ] as const
  ).map(([what, change]) => ({
    what,
    to: "server" as const,
    bytes: [requestBut(change)],
    reset: PROTOCOL_ERROR,
  })),
  {
    what: "a pseudo-header field in trailers",
    to: "server",
    bytes: [open, headers(1, [[":path", "/"]], true)],
    reset: PROTOCOL_ERROR,
  },
  {
    what: "less data than content-length",
    to: "server",
    bytes: [requestBut(plus("content-length", "2")), data(1, bytes(1), true)],
    reset: PROTOCOL_ERROR,
  },
  {
    what: "more data than content-length",
    to: "server",
    bytes: [requestBut(plus("content-length", "2")), data(1, bytes(3))],
    reset: PROTOCOL_ERROR,
  },
  { what: "no :status", to: "client", bytes: [headers(1, [["x", "y"]])], reset: PROTOCOL_ERROR },
  {
    what: "a :status that is no number",
    to: "client",
    bytes: [headers(1, [[":status", "ok"]])],
    reset: PROTOCOL_ERROR,
  },
  {
    what: "a :path in a response",
    to: "client",
    bytes: [
      headers(1, [
        [":status", "200"],
        [":path", "/"],
      ]),
    ],
    reset: PROTOCOL_ERROR,
  },
  {
    what: "an informational response that ends the stream",
    to: "client",
    bytes: [headers(1, [[":status", "103"]], true)],
    reset: PROTOCOL_ERROR,
  },
  {
    what: "DATA before the response headers",
    to: "client",
    bytes: [data(1, bytes(1))],
    reset: PROTOCOL_ERROR,
  },
  {
    what: "upper case in a response",
    to: "client",
    bytes: [
      headers(1, [
        [":status", "200"],
        ["X", "y"],
      ]),
    ],
    reset: PROTOCOL_ERROR,
  },
];
