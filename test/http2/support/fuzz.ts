import fc from "fast-check";
import {
  data,
  Flag,
  frame,
  headers,
  settings,
  Type,
  uint32,
  windowUpdate,
} from "../../support/wire.ts";
import type { End } from "./end.ts";
import { request } from "./exchanges.ts";
import { requestFrame } from "./raw-peer.ts";
import type { StreamLog } from "./stream-log.ts";

/** What happens at an engine: bytes come, the application does something, time passes. */
export type Step =
  | { do: "receive"; bytes: Uint8Array; pieces: number }
  | { do: "act"; act: (typeof ACTS)[number]; stream: number; size: number }
  | { do: "pass"; ms: number };

const ACTS = [
  ...["headers", "write", "message", "end", "trailers", "reset", "stop", "hold", "release"],
  ...["window", "block", "unblock", "ping", "earn", "open", "goaway", "collect"],
] as const;

const stream = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 3, 5, 7, 9) },
  { weight: 1, arbitrary: fc.constantFrom(0, 2, 4, 2 ** 31 - 1) },
);
const size = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 40 }) },
  { weight: 1, arbitrary: fc.constantFrom(16_384, 70_000) },
);
const payload = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.constantFrom(new Uint8Array(16_384), new Uint8Array(16_385)) },
);
const number = fc.constantFrom(0, 1, 100, 16_384, 65_535, 2 ** 24 - 1, 2 ** 31 - 1, 2 ** 32 - 1);

/** A frame of any type, whose length may be wrong. */
const anyFrame = fc
  .record({
    type: fc.nat({ max: 11 }),
    flags: fc.nat({ max: 255 }),
    stream,
    payload,
    off: fc.constantFrom(0, 0, 0, -1, 1, 300),
  })
  .map(({ type, flags, stream, payload, off }) => {
    const bytes = frame(type, flags, stream, payload);
    bytes.writeUIntBE(Math.max(0, payload.length + off), 0, 3);
    return bytes;
  });

const path = fc.constantFrom(
  "/unary",
  "/push",
  "/echo",
  "/early",
  "/refused",
  "/reset",
  "/endless",
  "/drain",
);

/** Frames as a peer sends them, in an order in which it may not. */
const plausible = fc.oneof(
  fc.record({ stream, path, end: fc.boolean() }).map((f) => requestFrame(f.stream, f.path, f.end)),
  fc
    .record({ stream, end: fc.boolean(), status: fc.constantFrom("200", "103", "404") })
    .map((f) => headers(f.stream, [[":status", f.status]], f.end)),
  fc
    .record({ stream, end: fc.boolean() })
    .map((f) => headers(f.stream, [["grpc-status", "0"]], f.end)),
  fc.record({ stream, payload, end: fc.boolean() }).map((f) => data(f.stream, f.payload, f.end)),
  fc.record({ stream, number }).map((f) => windowUpdate(f.stream, f.number)),
  fc.record({ stream, number }).map((f) => frame(Type.RST_STREAM, 0, f.stream, uint32(f.number))),
  fc.record({ id: fc.nat({ max: 9 }), number }).map((f) => settings({ [f.id]: f.number })),
  fc.constant(frame(Type.SETTINGS, Flag.ACK, 0)),
  fc.boolean().map((ack) => frame(Type.PING, ack ? Flag.ACK : 0, 0, Buffer.alloc(8))),
  fc
    .record({ stream, number })
    .map((f) => frame(Type.GOAWAY, 0, 0, Buffer.concat([uint32(f.stream), uint32(f.number)]))),
);

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("receive" as const),
      bytes: plausible,
      pieces: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("receive" as const),
      bytes: anyFrame,
      pieces: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("act" as const),
      act: fc.constantFrom(...ACTS),
      stream: fc.nat({ max: 8 }),
      size,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.nat({ max: 3000 }) }),
  },
);

/** Does a step. What an application may not do, such as opening a stream after GOAWAY, it does not do. */
export function take(end: End, step: Step): void {
  if (end.end !== undefined) return;
  if (step.do === "receive") {
    const size = Math.ceil(step.bytes.length / step.pieces) || 1;
    for (let at = 0; at < step.bytes.length && end.end === undefined; at += size) {
      end.receive(step.bytes.subarray(at, at + size));
    }
  } else if (step.do === "pass") {
    end.time.pass(step.ms);
  } else {
    const log = end.streams[step.stream % Math.max(1, end.streams.length)];
    if (!actOnConnection(end, step.act, step.size) && log !== undefined)
      act(log, step.act, step.size);
  }
}

function actOnConnection(end: End, act: (typeof ACTS)[number], size: number): boolean {
  const { connection } = end;
  if (act === "block") connection.block();
  else if (act === "unblock") connection.unblock();
  else if (act === "ping") connection.ping(() => {});
  else if (act === "earn") connection.earn(size % 10);
  else if (act === "goaway") connection.goaway("fuzz");
  else if (act === "collect") end.collect();
  else if (act === "open") {
    if (end.isClient && connection.isUsable) end.open(request("/echo"), {}, size % 2 === 0);
  } else return false;
  return true;
}

function act(log: StreamLog, act: (typeof ACTS)[number], size: number): void {
  const { stream } = log;
  const isServer = log.isServer;
  if (act === "headers" && isServer && !stream.headersSent)
    stream.sendHeaders([":status", "200"], size % 7 === 0);
  else if (act === "write" && canWrite(log)) log.write(Buffer.alloc(size));
  else if (act === "message" && canWrite(log)) log.writeMessage(Buffer.alloc(size));
  else if (act === "end" && canWrite(log)) stream.end();
  else if (act === "trailers" && canWrite(log)) stream.end(["grpc-status", "0"]);
  else if (act === "reset") stream.reset(8);
  else if (act === "stop") log.stopReading();
  else if (act === "hold") log.holdsCredit = true;
  else if (act === "release" && log.closed === undefined) log.release();
  else if (act === "window") stream.setWindow(65_535 + size * 100);
}

/** A server writes no data before its headers. */
function canWrite(log: StreamLog): boolean {
  return !log.isServer || log.stream.headersSent;
}

/** Throws if something is left: the pipe ends, and then everything must be closed. */
export function checkEnd(end: End): void {
  const { connection } = end;
  const open = end.streams.filter((log) => log.closed === undefined).length;
  // More: those whose headers were too large, while 431 waits for the pipe.
  if (connection.openStreams < open) {
    throw new Error(`the engine counts ${connection.openStreams} open streams, there are ${open}`);
  }
  if (end.end === undefined) connection.endOfInput();
  end.collect();
  const left = end.openStreams.map((log) => log.stream.id);
  if (left.length > 0) throw new Error(`streams are open after the end: ${left.join()}`);
  if (end.end === undefined) throw new Error("onClosed() was not called");
  if (!connection.isClosed || connection.openStreams > 0) throw new Error("it is not closed");
  if (end.time.timers > 0) throw new Error(`${end.time.timers} timers are armed after the end`);
  if (end.pool.taken > 0) throw new Error(`${end.pool.taken} output buffers did not come back`);
  if (end.violations.length > 0) throw new Error(end.violations.join("\n"));
}
