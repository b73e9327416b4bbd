/** The decoder where no code may be generated, and of types that are used a few times: a closure reads each field. */
import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { readClosed, type SetValue } from "./decode-enum.ts";
import { readEntry } from "./decode-map.ts";
import { Decoder, type Fields, type Read, readDelimited, readPackedWith } from "./decoder.ts";
import { isGroup, isLongAsString } from "./field-types.ts";
import { ownFormOf } from "./own-form.ts";
import { endOf, type ReadValue, readLenientString, scalars } from "./wire-input.ts";

function byName(message: object): Fields {
  return message as Fields;
}

const decoders = new WeakMap<DescMessage, Decoder>();

/** Returns the decoder of a type of message. */
export function decoderOf(desc: DescMessage): Decoder {
  const known = decoders.get(desc);
  if (known !== undefined) return known;
  const decoder = new Decoder();
  // Before the fields, which may hold messages of this type themselves.
  decoders.set(desc, decoder);
  for (const field of desc.fields) addField(decoder, field);
  return decoder;
}

/** Returns a function that returns the decoder. It is made at its first use: types may be nested deeper than the stack. */
function decoderLater(desc: DescMessage): () => Decoder {
  let decoder: Decoder | undefined;
  return () => {
    decoder ??= decoderOf(desc);
    return decoder;
  };
}

function addField(decoder: Decoder, field: DescField): void {
  const { localName, number, oneof } = field;
  if (field.fieldKind === "map") {
    decoder.add(number, WireType.LengthDelimited, readEntry(field, decoderLater));
    return;
  }
  if (field.message !== undefined) {
    const wireType = isGroup(field) ? WireType.StartGroup : WireType.LengthDelimited;
    decoder.add(number, wireType, readMessage(field, field.message));
    return;
  }
  const [wireType, readValue] = readerOf(field);
  if (field.enum?.open === false) {
    const read = readClosed(number, field.enum, setterOf(field));
    decoder.add(number, WireType.Varint, read);
    if (field.fieldKind === "list")
      decoder.add(number, WireType.LengthDelimited, readPackedWith(read));
  } else if (field.fieldKind === "list") {
    decoder.add(number, wireType, (input, message) => {
      (message[localName] as unknown[]).push(readValue(input));
    });
    if (wireType !== WireType.LengthDelimited) {
      decoder.add(number, WireType.LengthDelimited, readPacked(localName, readValue));
    }
  } else if (oneof !== undefined) {
    const group = oneof.localName;
    decoder.add(number, wireType, (input, message) => {
      message[group] = { case: localName, value: readValue(input) };
    });
  } else {
    decoder.add(number, wireType, (input, message) => {
      message[localName] = readValue(input);
    });
  }
}

/** Returns the reader of one value of a field, or of one item of a list. */
export function readerOf(field: DescField): readonly [WireType, ReadValue] {
  if (field.enum !== undefined) return scalars[ScalarType.INT32];
  const scalar = field.scalar as ScalarType;
  const [wireType, read] = scalars[scalar];
  if (scalar === ScalarType.STRING && !field.utf8Validation) return [wireType, readLenientString];
  if (!isLongAsString(field)) return [wireType, read];
  return [wireType, (input) => String(read(input))];
}

function readPacked(localName: string, readValue: ReadValue): Read {
  return (input, message) => {
    const end = endOf(input);
    const items = message[localName] as unknown[];
    const outer = input.end;
    input.end = end;
    while (input.at < end) items.push(readValue(input));
    input.end = outer;
  };
}

function readMessage(field: DescField, desc: DescMessage): Read {
  const { localName, oneof, number } = field;
  const decoder = decoderLater(desc);
  const readInto: Read = isGroup(field)
    ? (input, message) => decoder().readGroup(input, message, number)
    : readDelimited(decoder);
  const form = ownFormOf(field);
  if (form !== undefined) {
    const get = getterOf(field);
    const set = setterOf(field);
    return (input, message) => {
      const present = get(message);
      const child = form.begin(present);
      readInto(input, child);
      set(message, form.end(child, present));
    };
  }
  if (field.fieldKind === "list") {
    return (input, message) => {
      const item = byName(create(desc));
      (message[localName] as unknown[]).push(item);
      readInto(input, item);
    };
  }
  // If the field already has a message, the new one is merged into it.
  if (oneof !== undefined) {
    return (input, message) => {
      const set = message[oneof.localName] as OneofValue;
      if (set.case !== localName) {
        message[oneof.localName] = { case: localName, value: create(desc) };
      }
      readInto(input, (message[oneof.localName] as OneofValue).value as Fields);
    };
  }
  if (localName in Object.prototype) {
    return (input, message) => {
      message[localName] = presentIn(message, localName) ?? create(desc);
      readInto(input, message[localName] as Fields);
    };
  }
  return (input, message) => {
    message[localName] ??= create(desc);
    readInto(input, message[localName] as Fields);
  };
}

interface OneofValue {
  readonly case?: string;
  readonly value?: unknown;
}

/** Returns a function that sets a field, or adds to it if it is a list. */
function setterOf({ fieldKind, localName, oneof }: DescField): SetValue {
  if (fieldKind === "list") {
    return (message, value) => (message[localName] as unknown[]).push(value);
  }
  return (message, value) => {
    if (oneof === undefined) message[localName] = value;
    else message[oneof.localName] = { case: localName, value };
  };
}

/** Returns a function that reads the value to merge the new one with. A list has none. */
function getterOf({ fieldKind, localName, oneof }: DescField): (message: Fields) => unknown {
  if (fieldKind === "list") return () => undefined;
  if (oneof === undefined) return (message) => presentIn(message, localName);
  return (message) => {
    const set = message[oneof.localName] as OneofValue;
    return set.case === localName ? set.value : undefined;
  };
}

/** Reads a property of the message itself: a field may be named like a method that every object has. */
function presentIn(message: Fields, localName: string): unknown {
  return Object.hasOwn(message, localName) ? message[localName] : undefined;
}
