/** Decoding of maps. */
import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { readInt32, readKnown, type SetValue } from "./decode-enum.ts";
import {
  Decoder,
  type Fields,
  keepUnknown,
  type Read,
  readDelimited,
  skipUnknown,
  tagOf,
} from "./decoder.ts";
import { ownFormOf, setOwn } from "./own-form.ts";
import { ownBytes, readLenientString, scalars } from "./wire-input.ts";

type MapField = DescField & { fieldKind: "map" };

/** An entry of a map while it is read. */
interface MapEntry extends Fields {
  key?: unknown;
  value?: unknown;
  /** Whether it has another field, or a value that its enum does not have. */
  isUnknown?: boolean;
}

function markUnknown(entry: MapEntry): void {
  entry.isUnknown = true;
}

/**
 * Reads an entry, which is a message with the fields key and value. An entry with any other field is unknown as a
 * whole.
 */
export function readEntry(
  field: MapField,
  decoderLater: (desc: DescMessage) => () => Decoder,
): Read {
  const { localName, number } = field;
  const entries = new Decoder((input, entry, tag) => {
    skipUnknown(input, tag);
    markUnknown(entry);
  });
  const keyZero = String(zeroOf(field.mapKey));
  const [keyType, readKey] = scalars[field.mapKey];
  const lenient = field.mapKey === ScalarType.STRING && !field.utf8Validation;
  entries.add(1, keyType, (input, entry) => {
    entry.key = (lenient ? readLenientString : readKey)(input);
  });
  const zero = addEntryValue(entries, field, decoderLater);
  const read = readDelimited(() => entries);
  return (input, message) => {
    const start = input.at;
    const entry: MapEntry = {};
    read(input, entry);
    if (entry.isUnknown === true) {
      if (!input.readUnknownFields) return;
      const data = ownBytes(input, start, input.at);
      keepUnknown(message, tagOf(number, WireType.LengthDelimited), data);
      return;
    }
    const key = entry.key === undefined ? keyZero : String(entry.key);
    setOwn(message[localName] as Fields, key, entry.value ?? zero());
  };
}

/** Adds the reader of an entry's value. Returns a function that makes the value of an entry without one. */
function addEntryValue(
  entries: Decoder,
  field: MapField,
  decoderLater: (desc: DescMessage) => () => Decoder,
): () => unknown {
  if (field.mapKind === "message") {
    const desc = field.message;
    const form = ownFormOf(field);
    const readInto = readDelimited(decoderLater(desc));
    entries.add(2, WireType.LengthDelimited, (input, entry) => {
      if (form === undefined) {
        entry.value ??= create(desc);
        readInto(input, entry.value as Fields);
      } else {
        const child = form.begin(entry.value);
        readInto(input, child);
        entry.value = form.end(child, entry.value);
      }
    });
    return () => form?.end(form.begin(undefined), undefined) ?? create(desc);
  }
  if (field.mapKind === "enum") {
    const first = field.enum.values[0]?.number;
    const set: SetValue = (entry, value) => {
      entry.value = value;
    };
    const read: Read = (input, entry) => set(entry, readInt32(input));
    entries.add(
      2,
      WireType.Varint,
      field.enum.open ? read : readKnown(field.enum, set, (_, entry) => markUnknown(entry)),
    );
    return () => first;
  }
  const [wireType, readValue] = scalars[field.scalar];
  const lenient = field.scalar === ScalarType.STRING && !field.utf8Validation;
  entries.add(2, wireType, (input, entry) => {
    entry.value = (lenient ? readLenientString : readValue)(input);
  });
  return () => zeroOf(field.scalar);
}

/** Returns the value of a key or a value that an entry does not have. */
export function zeroOf(scalar: ScalarType): unknown {
  switch (scalar) {
    case ScalarType.STRING:
      return "";
    case ScalarType.BYTES:
      return new Uint8Array();
    case ScalarType.BOOL:
      return false;
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return 0n;
    default:
      return 0;
  }
}
