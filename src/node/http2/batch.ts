/**
 * Several messages as the bytes that leave in one write. Where many calls send
 * the same messages (see encoded-once.ts), one right after the other, they
 * send the same batch too: to each of them it costs a comparison.
 */
import { PREFIX_BYTES, writePrefix } from "../../flow/length-prefix.ts";

interface Batch {
  readonly payloads: readonly Uint8Array[];
  readonly flags: readonly number[];
  readonly bytes: Buffer;
}

/** The batch that was made last, of up to 48 KiB; it stays until there is another. */
let last: Batch = { payloads: [], flags: [], bytes: Buffer.alloc(0) };

/**
 * The frames of messages, in bytes that nobody may change; neither may the two lists be.
 *
 * @param size how many bytes they have, prefixes included
 */
export function batchOf(
  payloads: readonly Uint8Array[],
  flags: readonly number[],
  size: number,
): Buffer {
  if (isLast(payloads, flags)) return last.bytes;
  const bytes = Buffer.allocUnsafe(size);
  writeFrames(bytes, 0, payloads, flags, 0, payloads.length);
  last = { payloads, flags, bytes };
  return bytes;
}

/** Writes the frames of some of the messages into `bytes`. */
export function writeFrames(
  bytes: Buffer,
  offset: number,
  payloads: readonly Uint8Array[],
  flags: readonly number[],
  from: number,
  to: number,
): void {
  let at = offset;
  for (let i = from; i < to; i++) {
    const payload = payloads[i] as Uint8Array;
    writePrefix(bytes, at, { flags: flags[i] as number, size: payload.length });
    bytes.set(payload, at + PREFIX_BYTES);
    at += PREFIX_BYTES + payload.length;
  }
}

/** Messages of one call alone differ in the first. */
function isLast(payloads: readonly Uint8Array[], flags: readonly number[]): boolean {
  if (payloads.length !== last.payloads.length) return false;
  for (let at = 0; at < payloads.length; at++) {
    if (payloads[at] !== last.payloads[at] || flags[at] !== last.flags[at]) return false;
  }
  return true;
}
