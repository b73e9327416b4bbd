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
  /**
   * Takes back the memory of a message that a CompiledEncode has returned: once at most, since the next message may be the
   * same array. Nothing may refer to it any more.
   */
  giveBack(message: Uint8Array): void;
}

let compiler: CodecCompiler | undefined;

/**
 * A type is compiled when it is used for this time in one direction. Compiling takes about as long as the closures take
 * for some hundred small messages (docs/decisions.md), so a type that is used a few times is not worth it.
 */
const COMPILE_AT = 200;

let compileAt = COMPILE_AT;

/**
 * Makes this program compile its codecs. Without one, as in a browser's bundle, the closures encode and decode
 * everything.
 *
 * @param atUse the use of a type at which it is compiled: 1 in tests of what compiled codecs do
 */
export function setCodecCompiler(
  ofThisProgram: CodecCompiler | undefined,
  atUse = COMPILE_AT,
): void {
  compiler = ofThisProgram;
  compileAt = atUse;
}

/** Takes back the memory of a message that a MessageEncoder has returned: once at most. Nothing may refer to it any more. */
export function giveBackEncoded(message: Uint8Array): void {
  compiler?.giveBack(message);
}

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
    if (++this.#uses === compileAt && compiler !== undefined) {
      this.compiled = this.#compile(compiler);
    }
  }
}
