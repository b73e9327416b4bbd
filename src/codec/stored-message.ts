import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { giveBackEncoded } from "./compiler.ts";
import { messageDecoder } from "./decode.ts";
import { messageEncoder } from "./encode.ts";

/**
 * Encodes a message, or the fields of one, by the codec of calls: for the `data` of a record. The bytes are those of toBinary(), which
 * allocates several times as many. Throws what toBinary() throws.
 */
export function encodeMessage<Desc extends DescMessage>(
  schema: Desc,
  message: MessageInitShape<Desc>,
): Uint8Array {
  const encoded = messageEncoder(schema).encode(message, undefined);
  if (encoded.length === encoded.buffer.byteLength) return encoded;
  // Calls use the rest of the buffer again.
  const bytes = new Uint8Array(encoded);
  giveBackEncoded(encoded);
  return bytes;
}

/**
 * Decodes a message by the codec of calls, from the `data` of a record. The message may have parts of `data` in its fields of bytes.
 * Throws an Error if the bytes are not those of a message.
 */
export function decodeMessage<Desc extends DescMessage>(
  schema: Desc,
  data: Uint8Array,
): MessageShape<Desc> {
  return messageDecoder(schema).decode({ bytes: data, start: 0, end: data.length }, undefined);
}
