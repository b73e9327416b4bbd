/** Messages for spools, and what a spool gives out. */
import { expect } from "vitest";
import type { Received, SharedFrame } from "../../src/call-stream.ts";
import { frameRuns } from "../../src/codec/frame-runs.ts";
import { FrameReader } from "../../src/grpc/framing.ts";
import type { Spool } from "../../src/session/spool.ts";

export interface Kept {
  readonly flags: number;
  readonly payload: Uint8Array;
}

let count = 0;

/** Bytes that no other message has. */
export function message(size: number): Uint8Array {
  count++;
  const bytes = new Uint8Array(size).fill(count * 7);
  for (let at = 0; at < size; at += 61) bytes[at] = at ^ (at >>> 8) ^ count;
  for (let at = 0; at < Math.min(size, 4); at++) bytes[at] = count >>> (8 * at);
  return bytes;
}

/** Returns the next piece, if there is one. */
export function nextOf(spool: Spool): Uint8Array | undefined {
  return spool.next()?.subarray(spool.start, spool.end);
}

/** Returns all messages that the spool gives out from now on, as the other side reads them. */
export function read(spool: Spool): Kept[] {
  const came: Kept[] = [];
  const reader = new FrameReader(
    { readMaxBytes: 1_000_000 },
    {
      onFrame({ flags, bytes, start, end }: Received) {
        came.push({ flags, payload: bytes.slice(start, end) });
      },
    },
  );
  for (let piece = nextOf(spool); piece !== undefined; piece = nextOf(spool)) {
    expect(piece.length).toBeGreaterThan(0);
    reader.push(piece, 0, piece.length);
  }
  expect(reader.isPartial).toBe(false);
  return came;
}

export function expectSame(came: readonly Kept[], sent: readonly Kept[]): void {
  expect(came.length).toBe(sent.length);
  for (const [at, { flags, payload }] of came.entries()) {
    expect(flags).toBe(sent[at]?.flags);
    expect(Buffer.compare(payload, (sent[at] as Kept).payload)).toBe(0);
  }
}

/** Other messages of many calls. */
export const others = Array.from({ length: 40 }, () => message(300));

/** A message of many calls, which is the last one of the newest run. */
export function oneOfRun(size: number): { payload: Uint8Array; frame: SharedFrame } {
  const payload = message(size);
  return { payload, frame: frameRuns.add(payload) };
}
