/** Decoding of enums. */
import { type DescEnum, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Fields, keepUnknown, type Read, tagOf } from "./decoder.ts";
import { scalars, type WireInput } from "./wire-input.ts";

export type SetValue = (message: Fields, value: unknown) => void;

export const readInt32 = scalars[ScalarType.INT32][1] as (input: WireInput) => number;

/** Reads a closed enum. A number that the enum does not have becomes an unknown field. */
export function readClosed(number: number, desc: DescEnum, set: SetValue): Read {
  return (input, message) => {
    const value = readInt32(input);
    if (desc.value[value] !== undefined) set(message, value);
    else {
      const data = new BinaryWriter().int32(value).finish();
      if (input.readUnknownFields) keepUnknown(message, tagOf(number, WireType.Varint), data);
    }
  };
}
