import { closeSync, openSync, readSync, statSync } from "node:fs";
import { damaged } from "./message.ts";

/**
 * The layout of a write-ahead log: "The SQLite Database File Format", section 4. All numbers are
 * big-endian; the final bit of the magic number tells the byte order of the words that the
 * checksums add up.
 */
const HEADER = { bytes: 32, magic: 0, pageSize: 8, salts: 16, check: 24 };
const FRAME = { bytes: 24, commit: 4, salts: 8, check: 16 };
const MAGIC = 0x377f0682;

/**
 * Checks the write-ahead log that a process left, before SQLite reads it.
 *
 * SQLite stops at the first frame whose checksum is wrong, and drops what follows. That is right if
 * a crash cut off the final transaction, and wrong if an older one was damaged later. The two can
 * be told apart: a transaction begins only when the previous one is on the disk. So if a frame of
 * this log follows the end of a broken transaction, that transaction was damaged, and the log fails
 * with DATA_LOSS. Damage to the final transaction cannot be told from a write that was cut off.
 */
export function checkWal(path: string): void {
  const file = `${path}-wal`;
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size < HEADER.bytes + FRAME.bytes) return;
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) {
    throw damaged(path, "it is empty, and its -wal is not");
  }
  const descriptor = openSync(file, "r");
  try {
    checkFrames(descriptor, size, path);
  } finally {
    closeSync(descriptor);
  }
}

function checkFrames(descriptor: number, size: number, path: string): void {
  const header = Buffer.alloc(HEADER.bytes);
  readSync(descriptor, header, 0, HEADER.bytes, 0);
  const magic = header.readUInt32BE(HEADER.magic);
  const bigEndian = (magic & 1) === 1;
  const sum = new Checksum(bigEndian);
  sum.add(header, 0, HEADER.check);
  if ((magic & ~1) >>> 0 !== MAGIC || !sum.is(header, HEADER.check)) {
    throw damaged(path, "the header of its -wal");
  }
  const pageSize = header.readUInt32BE(HEADER.pageSize);
  const frame = Buffer.alloc(FRAME.bytes + pageSize);
  // "intact": all frames so far are valid. "broken": one is not, and its transaction has not ended.
  // "ended": that transaction has ended.
  let state: "intact" | "broken" | "ended" = "intact";
  for (let at: number = HEADER.bytes; at + frame.length <= size; at += frame.length) {
    readSync(descriptor, frame, 0, frame.length, at);
    const isOurs =
      frame.compare(header, HEADER.salts, HEADER.check, FRAME.salts, FRAME.check) === 0;
    if (state === "intact") {
      sum.add(frame, 0, FRAME.salts);
      sum.add(frame, FRAME.bytes, frame.length);
      if (!isOurs || !sum.is(frame, FRAME.check)) state = "broken";
    }
    if (state === "ended" && isOurs) {
      throw damaged(path, `a frame of its -wal before byte ${at}`);
    }
    if (state === "broken" && isOurs && frame.readUInt32BE(FRAME.commit) !== 0) state = "ended";
  }
}

/** The checksum of a write-ahead log, over 8 bytes at a time. */
class Checksum {
  readonly #bigEndian: boolean;
  #a = 0;
  #b = 0;

  constructor(bigEndian: boolean) {
    this.#bigEndian = bigEndian;
  }

  add(bytes: Buffer, from: number, to: number): void {
    let [a, b] = [this.#a, this.#b];
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const little = !this.#bigEndian;
    for (let at = from; at < to; at += 8) {
      a = (a + view.getUint32(at, little) + b) | 0;
      b = (b + view.getUint32(at + 4, little) + a) | 0;
    }
    [this.#a, this.#b] = [a, b];
  }

  is(bytes: Buffer, at: number): boolean {
    return this.#a >>> 0 === bytes.readUInt32BE(at) && this.#b >>> 0 === bytes.readUInt32BE(at + 4);
  }
}
