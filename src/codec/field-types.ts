/** What descriptors say about a field. */
import { type DescField, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";

/** Values of `presence`, by google.protobuf.FeatureSet.FieldPresence. */
export const IMPLICIT = 2;
export const LEGACY_REQUIRED = 3;

/** Whether messages of a field are groups. */
export function isGroup(field: DescField): boolean {
  return "delimitedEncoding" in field && field.delimitedEncoding;
}

/** Whether a field of 64 bits has strings as values. */
export function isLongAsString(field: DescField): boolean {
  return "longAsString" in field && field.longAsString;
}

/** Returns the scalar type of a field that does not hold messages: that of an enum is INT32. */
export function scalarOf(field: DescField): ScalarType {
  return field.enum !== undefined ? ScalarType.INT32 : (field.scalar as ScalarType);
}

export function wireTypeOf(scalar: ScalarType): WireType {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}
