import { InvalidFieldsError } from "./errors.ts";
import {
  checkSentFields,
  type FieldsKind,
  fieldOf,
  REQUEST,
  RESPONSE,
  TRAILERS,
} from "./fields.ts";
import type { HpackEncoder } from "./hpack/encoder.ts";
import { FIELD_OVERHEAD, type FieldList } from "./hpack/field-list.ts";

const NONE: FieldList = [];

/** Fields to send: a list, or fixed fields and a list of others that follow them. */
export type SentFields = FieldList | PartlyFixed;

interface PartlyFixed {
  readonly fixed: FixedFields;
  readonly more: FieldList;
}

/**
 * Fields that many blocks begin with. They are checked once. A connection encodes them once for as long as its dynamic table
 * does not change.
 */
export class FixedFields implements PartlyFixed {
  readonly list: FieldList;
  readonly kind: FieldsKind;
  readonly more = NONE;

  /** Throws an InvalidFieldsError. */
  private constructor(list: FieldList, kind: FieldsKind) {
    checkSentFields(list, kind);
    this.list = list;
    this.kind = kind;
  }

  static ofRequest(list: FieldList): FixedFields {
    return new FixedFields(list, REQUEST);
  }

  static ofResponse(list: FieldList): FixedFields {
    return new FixedFields(list, RESPONSE);
  }

  static ofTrailers(list: FieldList): FixedFields {
    return new FixedFields(list, TRAILERS);
  }

  get fixed(): FixedFields {
    return this;
  }
}

function isPartlyFixed(fields: SentFields): fields is PartlyFixed {
  return !Array.isArray(fields);
}

/** Throws an InvalidFieldsError if HTTP/2 does not allow these fields to be sent. */
export function checkSent(fields: SentFields, kind: FieldsKind): void {
  if (!isPartlyFixed(fields)) {
    checkSentFields(fields, kind);
    return;
  }
  const { fixed, more } = fields;
  if (fixed.kind !== kind) {
    throw new InvalidFieldsError(
      `fixed fields of ${fixed.kind.name} are not those of ${kind.name}`,
    );
  }
  // Pseudo-header fields come first: these may have none.
  if (more.length > 0) checkSentFields(more, TRAILERS);
}

/** As HpackEncoder.encode(). */
export function encodeFields(encoder: HpackEncoder, fields: SentFields): Uint8Array {
  if (isPartlyFixed(fields)) return encoder.encode(fields.more, fields.fixed.list);
  return encoder.encode(fields);
}

/** The value of a pseudo-header field. */
export function pseudoFieldOf(fields: SentFields, name: string): string | undefined {
  return fieldOf(isPartlyFixed(fields) ? fields.fixed.list : fields, name);
}

/** The size of a list, as HPACK counts it (RFC 7541, 4.1). */
export function listBytesOf(list: FieldList): number {
  let bytes = 0;
  for (let at = 0; at < list.length; at += 2) {
    bytes += (list[at] as string).length + (list[at + 1] as string).length + FIELD_OVERHEAD;
  }
  return bytes;
}
