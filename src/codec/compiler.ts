/** The choice between the two codecs of a type: closures, and code that is generated from its descriptor. */
import type { BinaryWriteOptions, DescMessage } from "@bufbuild/protobuf";
import type { Fields } from "./decoder.ts";
import type { WireInput } from "./wire-input.ts";

/** Encodes a message. Throws if it has a value that is not valid, or that only the library knows: that must encode it then. */
export type CompiledEncode = (
  message: Fields,
  options: Partial<BinaryWriteOptions> | undefined,
) => Uint8Array;

/** Decodes messages of one type. */
export interface CompiledDecoder {
  /** Makes a message without fields, as create() does. */
  create(): Fields;
  /** Reads up to the end of the message. @param endTag the tag that ends a group, or NO_GROUP */
  read(input: WireInput, message: Fields, endTag: number): void;
}

/** The endTag of a message that is not a group: no tag is below 0. */
export const NO_GROUP = -1;

/** Generates code. Returns `undefined` for a type whose messages the closures must encode or decode. */
export interface CodecCompiler {
  encoderOf(desc: DescMessage): CompiledEncode | undefined;
  decoderOf(desc: DescMessage): CompiledDecoder | undefined;
}

let compiler: CodecCompiler | undefined;

/** Makes this program compile its codecs. Without one, as in a browser's bundle, the closures encode and decode everything. */
export function setCodecCompiler(ofThisProgram: CodecCompiler | undefined): void {
  compiler = ofThisProgram;
}

/**
 * A type is compiled when it is used for this time in one direction. Compiling takes about as long as the closures take
 * for some hundred small messages (docs/decisions.md), so a type that is used a few times is not worth it.
 */
const COMPILE_AT = 200;

/** Counts the uses of a type in one direction, and compiles it once. */
export class CompiledLater<Compiled> {
  compiled: Compiled | undefined;
  #uses = 0;
  readonly #compile: (compiler: CodecCompiler) => Compiled | undefined;

  constructor(compile: (compiler: CodecCompiler) => Compiled | undefined) {
    this.#compile = compile;
  }

  /** Counts a use of the closures. */
  countUse(): void {
    if (++this.#uses === COMPILE_AT && compiler !== undefined) {
      this.compiled = this.#compile(compiler);
    }
  }
}
