/** Decoding of enums. */
import { type DescEnum, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Fields, keepUnknown, type Read, tagOf } from "./decoder.ts";
import { type Cursor, scalars } from "./wire-cursor.ts";

export type SetValue = (message: Fields, value: unknown) => void;

export const readInt32 = scalars[ScalarType.INT32][1] as (cursor: Cursor) => number;

/** A number that a closed enum has not is an unknown field. */
export function readClosed(number: number, desc: DescEnum, set: SetValue): Read {
  return (cursor, message) => {
    const value = readInt32(cursor);
    if (desc.value[value] !== undefined) set(message, value);
    else {
      const data = new BinaryWriter().int32(value).finish();
      if (cursor.readUnknownFields) keepUnknown(message, tagOf(number, WireType.Varint), data);
    }
  };
}
