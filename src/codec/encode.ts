import type { BinaryWriteOptions, DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { encodeByClosures, encodeByLibrary, isObject } from "./closure-encoder.ts";
import { type CompiledEncode, CompiledLater } from "./compiler.ts";
import type { Fields } from "./decoder.ts";

const encoders = new WeakMap<DescMessage, CompiledLater<CompiledEncode>>();

/**
 * Encodes a message, or the fields of one. Throws what toBinary() throws, and a NotThatMessage if it is not of this type.
 *
 * The bytes may be a part of a larger buffer, which is used again after giveBackEncoded(). To be fast, the caller calls that
 * at the end of the turn of the event loop at the latest, and copies before what it keeps.
 */
export function encode<Desc extends DescMessage>(
  desc: Desc,
  message: MessageInitShape<Desc>,
  options?: Partial<BinaryWriteOptions>,
): Uint8Array {
  let encoder = encoders.get(desc);
  if (encoder === undefined) {
    encoder = new CompiledLater((compiler) => compiler.encoderOf(desc));
    encoders.set(desc, encoder);
  }
  const { compiled } = encoder;
  if (compiled === undefined) {
    encoder.countUse();
    return encodeByClosures(desc, message, options);
  }
  if (isObject(message)) {
    try {
      return compiled(message as Fields, options);
    } catch {
      // It has a value that is not valid, or that only toBinary() accepts. The library names the field.
    }
  }
  return encodeByLibrary(desc, message, options);
}
