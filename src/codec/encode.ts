import type { BinaryWriteOptions, DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { encodeByClosures, encodeByLibrary, isObject } from "./closure-encoder.ts";
import { type CompiledEncode, CompiledLater } from "./compiler.ts";
import type { Fields } from "./decoder.ts";

const encoders = new WeakMap<DescMessage, MessageEncoder<never>>();

/** Encodes the messages of one type. */
export class MessageEncoder<Desc extends DescMessage> {
  readonly #desc: Desc;
  readonly #code: CompiledLater<CompiledEncode>;

  constructor(desc: Desc) {
    this.#desc = desc;
    this.#code = new CompiledLater((compiler) => compiler.encoderOf(desc));
  }

  /**
   * Encodes a message, or the fields of one. Throws what toBinary() throws, and a NotThatMessage if it is not of this type.
   *
   * The bytes may be a part of a larger buffer, which is used again after giveBackEncoded(). To be fast, the caller calls
   * that at the end of the turn of the event loop at the latest, and copies before what it keeps.
   */
  encode(
    message: MessageInitShape<Desc>,
    options: Partial<BinaryWriteOptions> | undefined,
  ): Uint8Array {
    const { compiled } = this.#code;
    if (compiled === undefined) {
      this.#code.countUse();
      return encodeByClosures(this.#desc, message, options);
    }
    if (isObject(message)) {
      try {
        return compiled(message as Fields, options);
      } catch {
        // It has a value that is not valid, or that only toBinary() accepts. The library names the field.
      }
    }
    return encodeByLibrary(this.#desc, message, options);
  }
}

/** Returns the encoder of a type, which all its messages share. */
export function messageEncoder<Desc extends DescMessage>(desc: Desc): MessageEncoder<Desc> {
  let encoder = encoders.get(desc) as MessageEncoder<Desc> | undefined;
  if (encoder === undefined) {
    encoder = new MessageEncoder(desc);
    encoders.set(desc, encoder as MessageEncoder<never>);
  }
  return encoder;
}
