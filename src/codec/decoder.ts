/** What every decoder is made of: which fields a message has, and what becomes of those that it has not. */
import { WireType } from "@bufbuild/protobuf/wire";
import { type Cursor, endOf, enter, own, skip, uint32 } from "./wire-cursor.ts";

/** A message as a record of its fields: its type knows each by name, and none by a name at run time. */
export type Fields = Record<string, unknown>;

/** Reads one field into a message. */
export type Read = (cursor: Cursor, message: Fields) => void;

/** Reads the fields of one type of message. */
export class Decoder {
  /** By tag: field number and wire type. */
  readonly fields = new Map<number, Read>();
  /** The same for tags of one byte, which most are. */
  readonly near: (Read | undefined)[] = new Array(128).fill(undefined);

  /** Reads up to the end of the message. */
  read(cursor: Cursor, message: Fields): void {
    enter(cursor);
    while (cursor.at < cursor.end) {
      const first = cursor.bytes[cursor.at] as number;
      if (first < 0x80) {
        cursor.at++;
        const read = this.near[first];
        if (read !== undefined) read(cursor, message);
        else readUnknown(cursor, message, first);
      } else this.readTagged(cursor, message, uint32(cursor, "a tag"));
    }
    cursor.depthLeft++;
  }

  /** Reads up to the end of the group. */
  readGroup(cursor: Cursor, message: Fields, number: number): void {
    enter(cursor);
    const end = tagOf(number, WireType.EndGroup);
    for (;;) {
      const tag = uint32(cursor, "a tag");
      if (tag === end) break;
      this.readTagged(cursor, message, tag);
    }
    cursor.depthLeft++;
  }

  readTagged(cursor: Cursor, message: Fields, tag: number): void {
    const read = this.fields.get(tag);
    if (read !== undefined) read(cursor, message);
    else readUnknown(cursor, message, tag);
  }

  add(field: number, wireType: WireType, read: Read): void {
    const tag = tagOf(field, wireType);
    this.fields.set(tag, read);
    if (tag < 0x80) this.near[tag] = read;
  }
}

export function tagOf(number: number, wireType: WireType): number {
  return ((number << 3) | wireType) >>> 0;
}

function readUnknown(cursor: Cursor, message: Fields, tag: number): void {
  if (tag >>> 3 === 0) throw new Error("a field has the number 0");
  const start = cursor.at;
  skip(cursor, tag);
  if (!cursor.readUnknownFields) return;
  keepUnknown(message, tag, own(cursor.bytes, start, cursor.at));
}

/**
 * Keeps a field that the message has not, where unknown fields are read.
 *
 * @param data what follows the tag
 */
export function keepUnknown(message: Fields, tag: number, data: Uint8Array): void {
  message.$unknown ??= [];
  (message.$unknown as unknown[]).push({ no: tag >>> 3, wireType: tag & 7, data });
}

/** Reads values for as long as their length says. */
export function packed(read: Read): Read {
  return (cursor, message) => {
    const end = endOf(cursor);
    const outer = cursor.end;
    cursor.end = end;
    while (cursor.at < end) read(cursor, message);
    cursor.end = outer;
  };
}

/** Reads a message that a length introduces. */
export function readDelimited(decoder: Decoder): Read {
  return (cursor, message) => {
    const end = endOf(cursor);
    const outer = cursor.end;
    cursor.end = end;
    decoder.read(cursor, message);
    cursor.end = outer;
  };
}
