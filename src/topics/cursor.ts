import { createHash, randomBytes } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { show } from "../options.ts";

/**
 * A cursor, before base64url: one byte of version, 8 of the log's epoch, 4 that
 * stand for the topic, 8 of the position, 3 of a checksum. To clients it is
 * opaque.
 */
const VERSION = 1;
const BYTES = 24;
const AT = { epoch: 1, topic: 9, position: 13, check: 21 };

/** An epoch has so many hexadecimal digits. */
export const EPOCH_DIGITS = 16;

/** A random epoch. */
export function newEpoch(): string {
  return randomBytes(EPOCH_DIGITS / 2).toString("hex");
}

/** Makes and reads the cursors of one topic. */
export interface Cursors {
  write(position: number): string;
  /**
   * The position; `undefined`: the cursor is of another epoch. Throws
   * INVALID_ARGUMENT where it is malformed, or of another topic.
   */
  read(cursor: string): number | undefined;
}

/** @param epoch 16 hexadecimal digits, in lower case */
export function cursorsOf(epoch: string, topic: string): Cursors {
  const head = Buffer.alloc(AT.position);
  head[0] = VERSION;
  head.write(epoch, AT.epoch, "hex");
  createHash("sha256").update(topic).digest().copy(head, AT.topic, 0, 4);
  return {
    write(position) {
      const cursor = Buffer.alloc(BYTES);
      cursor.set(head);
      cursor.writeUIntBE(position % 2 ** 48, AT.position + 2, 6);
      cursor.writeUInt16BE(Math.floor(position / 2 ** 48), AT.position);
      cursor.writeUIntBE(checksum(cursor), AT.check, 3);
      return cursor.toString("base64url");
    },
    read(text) {
      if (typeof text !== "string") {
        throw failure(Code.InvalidArgument, `the cursor is ${show(text)}: a string is needed`);
      }
      const cursor = Buffer.from(text, "base64url");
      if (
        cursor.length !== BYTES ||
        positionOf(cursor) > Number.MAX_SAFE_INTEGER ||
        cursor[0] !== VERSION ||
        cursor.toString("base64url") !== text ||
        cursor.readUIntBE(AT.check, 3) !== checksum(cursor)
      ) {
        throw failure(Code.InvalidArgument, "the cursor is malformed: use one as it was given");
      }
      if (cursor.compare(head, AT.topic, AT.position, AT.topic, AT.position) !== 0) {
        throw failure(Code.InvalidArgument, "the cursor belongs to something else than this");
      }
      if (cursor.compare(head, AT.epoch, AT.topic, AT.epoch, AT.topic) !== 0) return undefined;
      return positionOf(cursor);
    },
  };
}

function positionOf(cursor: Buffer): number {
  return cursor.readUInt16BE(AT.position) * 2 ** 48 + cursor.readUIntBE(AT.position + 2, 6);
}

/** FNV-1a, folded to 24 bits: a slip of the pen is told from a cursor; a forger is not. */
function checksum(cursor: Buffer): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < AT.check; at++) {
    hash = Math.imul(hash ^ (cursor[at] as number), 0x01000193) >>> 0;
  }
  return (hash >>> 8) ^ (hash & 0xff);
}
