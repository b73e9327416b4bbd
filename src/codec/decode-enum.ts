/** Decoding of enums. */
import { type DescEnum, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Fields, keepUnknown, type Read, tagOf } from "./decoder.ts";
import { scalars, type WireInput } from "./wire-input.ts";

export type SetValue = (message: Fields, value: unknown) => void;

export const readInt32 = scalars[ScalarType.INT32][1] as (input: WireInput) => number;

/** Called with a number that a closed enum does not have. */
export type OnUnknownNumber = (input: WireInput, message: Fields, value: number) => void;

/** Reads a closed enum. A number that the enum does not have becomes an unknown field. */
export function readClosed(number: number, desc: DescEnum, set: SetValue): Read {
  const tag = tagOf(number, WireType.Varint);
  return readKnown(desc, set, (input, message, value) => {
    if (!input.readUnknownFields) return;
    keepUnknown(message, tag, new BinaryWriter().int32(value).finish());
  });
}

/** Reads a closed enum. */
export function readKnown(desc: DescEnum, set: SetValue, onUnknown: OnUnknownNumber): Read {
  return (input, message) => {
    const value = readInt32(input);
    if (desc.value[value] !== undefined) set(message, value);
    else onUnknown(input, message, value);
  };
}
