import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { IN_NO_RUN, type SharedFrame } from "../call-stream.ts";
import { wrong } from "../options.ts";
import { giveMessage } from "./complete.ts";
import type { Compression } from "./compression.ts";

/** The bytes of one message that many calls send. */
export interface SharedBytes {
  payload: Uint8Array | undefined;
  /** Where the payload stands in a run, once there is a payload. */
  frame: SharedFrame;
  gzip: Uint8Array | Promise<Uint8Array> | undefined;
}

const SHARED = Symbol("encoded once");

type Marked = { readonly $typeName?: string; readonly [SHARED]?: SharedBytes };

/**
 * Makes a message for many calls: it is encoded when it is first sent, and compressed when a call first needs that;
 * every later call sends the same bytes. Otherwise it is a message like any other: interceptors, sessions, limits and
 * all protocols accept it. The message is frozen, and the values in it must not be changed either; a copy of it, by `{...}` or
 * clone(), is an ordinary message. Throws INVALID_ARGUMENT if `message` is not of this type.
 */
export function encodedOnce<Desc extends DescMessage>(
  schema: Desc,
  message: MessageInitShape<Desc>,
): MessageShape<Desc> {
  if ((schema as Partial<DescMessage> | null | undefined)?.kind !== "message") {
    const place = { of: "encodedOnce", option: "schema" };
    throw wrong(place, schema, "a schema of the generated code, such as MessageSchema,");
  }
  const complete = giveMessage(schema, message);
  if (sharedBytesOf(schema, complete) !== undefined) return complete;
  // The caller's own message is not changed.
  const copy = Object.assign(Object.create(Object.getPrototypeOf(complete)), complete);
  const value: SharedBytes = { payload: undefined, frame: IN_NO_RUN, gzip: undefined };
  // The property is not enumerable: a copy with other fields must not have these bytes.
  return Object.freeze(Object.defineProperty(copy, SHARED, { value }));
}

/** Returns the bytes that encodedOnce() added to a message, if it made the message. */
export function sharedBytesOf(desc: DescMessage, message: unknown): SharedBytes | undefined {
  const marked = message as Marked | null | undefined;
  const shared = marked?.[SHARED];
  return shared !== undefined && marked?.$typeName === desc.typeName ? shared : undefined;
}

/** Returns the message compressed. The first call that needs it compresses it. */
export function compressOnce(
  shared: SharedBytes,
  payload: Uint8Array,
  compression: Compression,
): Uint8Array | Promise<Uint8Array> {
  if (shared.gzip === undefined) {
    const compressed = compression.compress(payload);
    if (!(compressed instanceof Promise)) shared.gzip = trim(compressed);
    else {
      const keep = (bytes: Uint8Array | undefined) => {
        shared.gzip = bytes;
      };
      const kept = compressed.then(trim);
      shared.gzip = kept;
      kept.then(keep, () => keep(undefined));
    }
  }
  return shared.gzip;
}

/**
 * Copies the bytes if their buffer is larger, as zlib's is: every session that keeps the message would hold all of the
 * buffer.
 */
function trim(bytes: Uint8Array): Uint8Array {
  return bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}
