/** The codecs of a type beside each other, and what they make of a message. */
import {
  type BinaryReadOptions,
  type BinaryWriteOptions,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { encodeByLibrary } from "../../src/codec/closure-encoder.ts";
import { compiledCodecs } from "../../src/codec/compiled/compiled-codecs.ts";
import { type CompiledDecoder, type CompiledEncode, NO_GROUP } from "../../src/codec/compiler.ts";
import {
  decodeByClosures,
  inputOf,
  type MessageBytes,
  messageDecoder,
} from "../../src/codec/decode.ts";
import { messageEncoder } from "../../src/codec/encode.ts";

export type EncodeOptions = Parameters<CompiledEncode>[1];

/** What a codec returns, or the error that it throws. */
export type Outcome<Result> = { is: Result } | { error: string };

export function outcome<Result>(run: () => Result): Outcome<Result> {
  try {
    return { is: run() };
  } catch (error) {
    return { error: String(error) };
  }
}

export const bytesOf = (run: () => Uint8Array) => outcome(() => Buffer.from(run()).toString("hex"));

/** Encodes as calls do. */
export function encode<Desc extends DescMessage>(
  desc: Desc,
  message: MessageInitShape<Desc>,
  options?: Partial<BinaryWriteOptions>,
) {
  return messageEncoder(desc).encode(message, options);
}

/** Decodes as calls do. */
export function decode<Desc extends DescMessage>(
  desc: Desc,
  bytes: MessageBytes,
  options?: Partial<BinaryReadOptions>,
) {
  return messageDecoder(desc).decode(bytes, options);
}

/** The bytes in the middle of a larger buffer, as in a frame. */
function framed(bytes: Uint8Array) {
  const all = Buffer.concat([Buffer.alloc(7, 0x0a), bytes, Buffer.alloc(5, 0x0a)]);
  return { bytes: all, start: 7, end: 7 + bytes.length };
}

/** The compiled codec of a type, whatever its number of uses. Throws if there is none. */
export function compiledOf(desc: DescMessage) {
  const encoder = compiledCodecs.encoderOf(desc);
  const decoder = compiledCodecs.decoderOf(desc);
  if (encoder === undefined || decoder === undefined) {
    throw new Error(`${desc.typeName} is not compiled`);
  }
  return {
    /** Throws if the library must encode the message. */
    encode: (message: object, options?: EncodeOptions) => encoder(message as never, options),
    /** As a MessageEncoder. */
    encodeAny(message: object, options?: EncodeOptions) {
      try {
        return encoder(message as never, options);
      } catch {
        return encodeByLibrary(desc, message, options);
      }
    },
    decode: (bytes: Uint8Array, options = {}) =>
      decodeBy(decoder, { bytes: framed(bytes), options }),
  };
}

function decodeBy(
  decoder: CompiledDecoder,
  { bytes, options }: { bytes: ReturnType<typeof framed>; options: object },
): object {
  const message = decoder.create();
  decoder.read(inputOf(bytes, options), message, NO_GROUP);
  return message;
}

export function decodeClosures(desc: DescMessage, bytes: Uint8Array, options = {}): object {
  return decodeByClosures(desc, framed(bytes), options);
}

export function decodeLibrary(desc: DescMessage, bytes: Uint8Array, options = {}): object {
  return fromBinary(desc, new Uint8Array(bytes), options);
}
