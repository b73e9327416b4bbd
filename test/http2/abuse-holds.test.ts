/** A peer that makes an engine wait is let go after 10 s, unless HTTP/2 lets it wait for ever. */
import { expect, test } from "vitest";
import { encodeHeaders } from "../support/hpack.ts";
import {
  data,
  envelope,
  Flag,
  frame,
  Http2Code,
  PREFACE,
  settings,
  Type,
} from "../support/wire.ts";
import { request } from "./support/exchanges.ts";
import { grpcServer, sendMessage } from "./support/grpc-server.ts";
import { RawPeer, requestFrame } from "./support/raw-peer.ts";

const ACK = frame(Type.SETTINGS, Flag.ACK, 0);

interface Hold {
  readonly what: string;
  readonly role: "server" | "client";
  readonly bytes: readonly Buffer[];
  readonly code: number;
}

const { PROTOCOL_ERROR, SETTINGS_TIMEOUT } = Http2Code;
const holds: readonly Hold[] = [
  { what: "nothing", role: "server", bytes: [], code: PROTOCOL_ERROR },
  {
    what: "half a preface",
    role: "server",
    bytes: [PREFACE.subarray(0, 10)],
    code: PROTOCOL_ERROR,
  },
  { what: "a preface without SETTINGS", role: "server", bytes: [PREFACE], code: PROTOCOL_ERROR },
  {
    what: "no acknowledgement of SETTINGS",
    role: "server",
    bytes: [PREFACE, settings()],
    code: SETTINGS_TIMEOUT,
  },
  {
    what: "half a header block",
    role: "server",
    bytes: [
      PREFACE,
      settings(),
      ACK,
      frame(Type.HEADERS, 0, 1, encodeHeaders([[":method", "POST"]])),
    ],
    code: PROTOCOL_ERROR,
  },
  {
    what: "half a HEADERS frame",
    role: "server",
    bytes: [PREFACE, settings(), ACK, requestFrame(1, "/unary").subarray(0, 20)],
    code: PROTOCOL_ERROR,
  },
  { what: "nothing", role: "client", bytes: [], code: PROTOCOL_ERROR },
  {
    what: "no acknowledgement of SETTINGS",
    role: "client",
    bytes: [settings()],
    code: SETTINGS_TIMEOUT,
  },
];

test.each(holds)(
  "a peer of a $role that sends $what is closed after 10 s",
  ({ role, bytes, code }) => {
    const peer = new RawPeer({ role, ...grpcServer() });
    peer.read().write(...bytes);
    peer.end.time.pass(9999);
    expect(peer.read().end.end).toBeUndefined();
    peer.end.time.pass(1);
    expect(peer.read().end.end).toMatchObject({ by: "failed" });
    expect(peer.end.end?.reason).not.toBe("");
    expect([code, PROTOCOL_ERROR, SETTINGS_TIMEOUT, Http2Code.ENHANCE_YOUR_CALM]).toContain(
      peer.goaway,
    );
    expect(peer.end.time.timers).toBe(0);
    expect(peer.end.violations).toEqual([]);
  },
);

test("a header block that comes slowly is closed 10 s after its beginning", () => {
  const peer = new RawPeer({ role: "server", ...grpcServer() });
  peer.read().write(PREFACE, settings(), ACK, frame(Type.HEADERS, 0, 1));
  for (let n = 0; n < 9; n++) {
    peer.end.time.pass(1000);
    peer.write(frame(Type.CONTINUATION, 0, 1, encodeHeaders([[`x-${n}`, "y"]])));
    expect(peer.end.end).toBeUndefined();
  }
  peer.end.time.pass(1000);
  expect(peer.end.end).toMatchObject({ by: "failed" });
});

test("a window of 0, an idle connection and an unread stream may last for ever", () => {
  const peer = new RawPeer({ role: "server", ...grpcServer() });
  peer.read().write(PREFACE, settings({ 4: 0 }), ACK);
  peer.write(requestFrame(1, "/echo"), data(1, envelope(Buffer.alloc(100))));
  const log = peer.end.stream(1);
  log.holdsCredit = true;
  sendMessage(log, Buffer.alloc(1000));
  peer.end.time.pass(24 * 3_600_000);
  expect(peer.read().end.end).toBeUndefined();
  expect(log.stream.waitingBytes).toBeGreaterThan(0);
  expect(peer.end.time.timers).toBe(0);
});

test("a client keeps a connection on which its peer sends nothing but SETTINGS", () => {
  const peer = new RawPeer({ role: "client" });
  peer.end.open(request("/silent"), {}, true);
  peer.read().write(settings(), ACK);
  peer.end.time.pass(24 * 3_600_000);
  expect(peer.end.end).toBeUndefined();
  expect(peer.end.openStreams).toHaveLength(1);
});
