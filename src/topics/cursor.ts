import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { show } from "../options.ts";

/**
 * A cursor is the base64url of 24 bytes: 1 byte of version, 8 of the log's epoch, 4 of a hash of
 * the topic's name, 8 of the position, 3 of a checksum. Clients MUST NOT depend on this layout.
 */
const VERSION = 2;
const BYTES = 24;
const AT = { epoch: 1, topic: 9, position: 13, check: 21 };

/** The length of an epoch in hexadecimal digits: 64 bits. */
export const EPOCH_DIGITS = 16;

/** A random epoch. */
export function newEpoch(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(EPOCH_DIGITS / 2));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Makes and reads the cursors of one topic. */
export interface Cursors {
  write(position: number): string;
  /**
   * Returns the position of a cursor, or `undefined` if the cursor is of another epoch. Throws
   * INVALID_ARGUMENT if the cursor is malformed, or of another topic.
   */
  read(cursor: string): number | undefined;
}

const utf8 = new TextEncoder();

/** @param epoch 16 hexadecimal digits, in lower case */
export function cursorsOf(epoch: string, topic: string): Cursors {
  const head = new Uint8Array(BYTES);
  const view = new DataView(head.buffer);
  head[0] = VERSION;
  view.setBigUint64(AT.epoch, BigInt(`0x${epoch}`));
  view.setUint32(AT.topic, fnv1a(utf8.encode(topic)));
  return {
    write(position) {
      const cursor = head.slice();
      const view = new DataView(cursor.buffer);
      view.setBigUint64(AT.position, BigInt(position));
      writeCheck(view, checksum(cursor));
      return base64Encode(cursor, "url");
    },
    read(text) {
      if (typeof text !== "string") {
        throw failure(Code.InvalidArgument, `the cursor is ${show(text)}: a string is needed`);
      }
      const cursor = bytesOf(text);
      if (cursor === undefined) {
        throw failure(Code.InvalidArgument, "the cursor is malformed: use one as it was given");
      }
      if (!isSame(cursor, head, [AT.topic, AT.position])) {
        throw failure(Code.InvalidArgument, "the cursor belongs to another topic");
      }
      if (!isSame(cursor, head, [AT.epoch, AT.topic])) return undefined;
      return positionOf(cursor);
    },
  };
}

/** Decodes a cursor. Returns `undefined` if the text is not a cursor of a Hawser log. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> | undefined {
  let cursor: Uint8Array<ArrayBuffer>;
  try {
    cursor = base64Decode(text);
  } catch {
    return undefined;
  }
  const isOurs =
    cursor.length === BYTES &&
    cursor[0] === VERSION &&
    positionOf(cursor) <= Number.MAX_SAFE_INTEGER &&
    base64Encode(cursor, "url") === text &&
    readCheck(new DataView(cursor.buffer, cursor.byteOffset)) === checksum(cursor);
  return isOurs ? cursor : undefined;
}

function positionOf(cursor: Uint8Array): number {
  const view = new DataView(cursor.buffer, cursor.byteOffset);
  return Number(view.getBigUint64(AT.position));
}

function writeCheck(view: DataView, check: number): void {
  view.setUint16(AT.check, check >>> 8);
  view.setUint8(AT.check + 2, check & 0xff);
}

function readCheck(view: DataView): number {
  return (view.getUint16(AT.check) << 8) | view.getUint8(AT.check + 2);
}

/** Whether both have the same bytes from index `from` up to `to`, exclusive. */
function isSame(cursor: Uint8Array, head: Uint8Array, [from, to]: [number, number]): boolean {
  for (let at = from; at < to; at++) if (cursor[at] !== head[at]) return false;
  return true;
}

/**
 * FNV-1a folded to 24 bits. It detects a cursor that was copied wrongly; it does not protect
 * against a forged one.
 */
function checksum(cursor: Uint8Array): number {
  const hash = fnv1a(cursor.subarray(0, AT.check));
  return (hash >>> 8) ^ (hash & 0xff);
}

/** The 32-bit FNV-1a hash. */
function fnv1a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
