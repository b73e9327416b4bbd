/**
 * Several messages as the bytes of one write. If many calls send the same
 * messages (see encoded-once.ts), one call directly after the other, they share
 * one batch: for each further call it costs only a comparison.
 */
import { PREFIX_BYTES, writePrefix } from "../../flow/length-prefix.ts";

/** Messages to be written: the flags and the bytes of each. */
export interface Messages {
  readonly payloads: readonly Uint8Array[];
  readonly flags: readonly number[];
}

interface Batch extends Messages {
  readonly bytes: Buffer;
}

/** The previous batch, of up to 48 KiB; it is kept until the next one is made. */
let last: Batch = { payloads: [], flags: [], bytes: Buffer.alloc(0) };

/**
 * Returns the frames of messages. The caller must change neither the bytes nor the two lists afterwards.
 *
 * @param size the bytes of all messages, prefixes included
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

/** Whether the previous batch has the same messages. Those of unrelated calls differ in the first message. */
function isLast({ payloads, flags }: Messages): boolean {
  if (payloads.length !== last.payloads.length) return false;
  for (let at = 0; at < payloads.length; at++) {
    if (payloads[at] !== last.payloads[at] || flags[at] !== last.flags[at]) return false;
  }
  return true;
}
