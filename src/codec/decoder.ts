/** The parts of every decoder: they read the fields of a message, and keep unknown ones. */
import { WireType } from "@bufbuild/protobuf/wire";
import { endOf, enter, ownBytes, skip, uint32, type WireInput } from "./wire-input.ts";

/** A message as a record of its fields: its type has no access by names that are known only at run time. */
export type Fields = Record<string, unknown>;

/** Reads one field into a message. */
export type Read = (input: WireInput, message: Fields) => void;

/** Reads one field whose tag the message does not have. */
export type ReadUnknown = (input: WireInput, message: Fields, tag: number) => void;

/** Reads the fields of one type of message. */
export class Decoder {
  /** The readers of the fields, by tag: field number and wire type. */
  readonly fields = new Map<number, Read>();
  /** The same readers, for tags of one byte. Most tags are. */
  readonly oneByteTags: (Read | undefined)[] = new Array(128).fill(undefined);
  readonly #readUnknown: ReadUnknown;

  /** @param unknown reads fields that have no reader. Default: readUnknown() */
  constructor(unknown: ReadUnknown = readUnknown) {
    this.#readUnknown = unknown;
  }

  /** Reads up to the end of the message. */
  read(input: WireInput, message: Fields): void {
    enter(input);
    while (input.at < input.end) {
      const first = input.bytes[input.at] as number;
      if (first < 0x80) {
        input.at++;
        const read = this.oneByteTags[first];
        if (read !== undefined) read(input, message);
        else this.#readUnknown(input, message, first);
      } else this.readTagged(input, message, uint32(input, "a tag"));
    }
    input.depthLeft++;
  }

  /** Reads up to the end of the group. */
  readGroup(input: WireInput, message: Fields, number: number): void {
    enter(input);
    const end = tagOf(number, WireType.EndGroup);
    for (;;) {
      const tag = uint32(input, "a tag");
      if (tag === end) break;
      this.readTagged(input, message, tag);
    }
    input.depthLeft++;
  }

  readTagged(input: WireInput, message: Fields, tag: number): void {
    const read = this.fields.get(tag);
    if (read !== undefined) read(input, message);
    else this.#readUnknown(input, message, tag);
  }

  add(field: number, wireType: WireType, read: Read): void {
    const tag = tagOf(field, wireType);
    this.fields.set(tag, read);
    if (tag < 0x80) this.oneByteTags[tag] = read;
  }
}

export function tagOf(number: number, wireType: WireType): number {
  return ((number << 3) | wireType) >>> 0;
}

/** Reads an unknown field, and keeps it if unknown fields are read. */
export function readUnknown(input: WireInput, message: Fields, tag: number): void {
  const start = input.at;
  skipUnknown(input, tag);
  if (input.readUnknownFields) keepUnknown(message, tag, ownBytes(input, start, input.at));
}

/** Skips an unknown field, after its tag. */
export function skipUnknown(input: WireInput, tag: number): void {
  if (tag >>> 3 === 0) throw new Error("a field has the number 0");
  skip(input, tag);
}

/**
 * Keeps a field that the type of the message does not have. Called only if unknown fields are read.
 *
 * @param data the bytes after the tag
 */
export function keepUnknown(message: Fields, tag: number, data: Uint8Array): void {
  message.$unknown ??= [];
  (message.$unknown as unknown[]).push({ no: tag >>> 3, wireType: tag & 7, data });
}

/** Reads values up to the length before them. */
export function readPackedWith(read: Read): Read {
  return (input, message) => {
    const end = endOf(input);
    const outer = input.end;
    input.end = end;
    while (input.at < end) read(input, message);
    input.end = outer;
  };
}

/** Reads a message that has its length before it. */
export function readDelimited(decoder: () => Decoder): Read {
  return (input, message) => {
    const end = endOf(input);
    const outer = input.end;
    input.end = end;
    decoder().read(input, message);
    input.end = outer;
  };
}
