/**
 * Several messages as the bytes that leave in one write. Where many calls send
 * the same messages (see encoded-once.ts), one right after the other, they
 * send the same batch too: to each of them it costs a comparison.
 */
import { PREFIX_BYTES, writePrefix } from "../../flow/length-prefix.ts";

/** Messages to be written: the flags of each, and its bytes. */
export interface Messages {
  readonly payloads: readonly Uint8Array[];
  readonly flags: readonly number[];
}

interface Batch extends Messages {
  readonly bytes: Buffer;
}

/** The batch that was made last, of up to 48 KiB; it stays until there is another. */
let last: Batch = { payloads: [], flags: [], bytes: Buffer.alloc(0) };

/**
 * The frames of messages, in bytes that nobody may change; neither may the two lists be.
 *
 * @param size how many bytes they have, prefixes included
 */
export function batchOf(messages: Messages, size: number): Buffer {
  if (isLast(messages)) return last.bytes;
  const bytes = Buffer.allocUnsafe(size);
  writeFrames(bytes, messages, { from: 0, to: messages.payloads.length });
  last = { ...messages, bytes };
  return bytes;
}

/** Writes the frames of some of the messages into `bytes`. */
export function writeFrames(
  bytes: Buffer,
  { payloads, flags }: Messages,
  { from, to }: { readonly from: number; readonly to: number },
): void {
  let at = 0;
  for (let i = from; i < to; i++) {
    const payload = payloads[i] as Uint8Array;
    writePrefix(bytes, at, { flags: flags[i] as number, size: payload.length });
    bytes.set(payload, at + PREFIX_BYTES);
    at += PREFIX_BYTES + payload.length;
  }
}

/** Messages of one call alone differ in the first. */
function isLast({ payloads, flags }: Messages): boolean {
  if (payloads.length !== last.payloads.length) return false;
  for (let at = 0; at < payloads.length; at++) {
    if (payloads[at] !== last.payloads[at] || flags[at] !== last.flags[at]) return false;
  }
  return true;
}
