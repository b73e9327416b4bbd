/**
 * Compiles codecs: generates for each type of message one function that encodes and one that decodes, with the code of all
 * fields in a row. A type within another one is compiled at its first use. A program that must not generate code need not
 * import this.
 */
import { create, type DescMessage } from "@bufbuild/protobuf";
import { decoderOf } from "../closure-decoder.ts";
import { encodeByClosures, needsLibrary } from "../closure-encoder.ts";
import type { CodecCompiler, CompiledDecoder, CompiledEncode } from "../compiler.ts";
import { hasInherited } from "../complete.ts";
import type { Fields } from "../decoder.ts";
import { decoderSource } from "./decoder-source.ts";
import { encoderSource, type MessageWriter } from "./encoder-source.ts";
import { Output } from "./output.ts";
import type { Source } from "./source.ts";

/** Whether code must not be generated from strings in this program. It is tried once. */
let isForbidden = false;

/**
 * Generates code and compiles it. Returns `undefined` if that fails, for whatever reason: no message must fail because of it,
 * since the closures do the same.
 */
function compile<Compiled>(generate: () => Source): Compiled | undefined {
  if (isForbidden) return undefined;
  try {
    return generate().compile() as Compiled;
  } catch (error) {
    if (error instanceof EvalError) isForbidden = true;
    return undefined;
  }
}

/** The decoder of a type, which is compiled at its first use. */
class LazyDecoder implements CompiledDecoder {
  create: CompiledDecoder["create"];
  read: CompiledDecoder["read"];
  /** Undefined before the first use. */
  #isCompiled: boolean | undefined;
  readonly #desc: DescMessage;

  constructor(desc: DescMessage) {
    this.#desc = desc;
    this.create = () => {
      this.compile();
      return this.create();
    };
    this.read = (input, message, endTag) => {
      this.compile();
      this.read(input, message, endTag);
    };
  }

  /** Returns false if the closures must decode messages of this type. */
  compile(): boolean {
    if (this.#isCompiled !== undefined) return this.#isCompiled;
    const desc = this.#desc;
    const compiled = compile<CompiledDecoder>(() => decoderSource(desc, decoderFor));
    const { create, read } = compiled ?? closuresOf(desc);
    this.create = create;
    this.read = read;
    this.#isCompiled = compiled !== undefined;
    return this.#isCompiled;
  }
}

function closuresOf(desc: DescMessage): CompiledDecoder {
  return {
    create: () => create(desc) as Fields,
    read: (input, message, endTag) => {
      if (endTag < 0) decoderOf(desc).read(input, message);
      else decoderOf(desc).readGroup(input, message, endTag >>> 3);
    },
  };
}

const decoders = new WeakMap<DescMessage, LazyDecoder>();

function decoderFor(desc: DescMessage): LazyDecoder {
  let decoder = decoders.get(desc);
  if (decoder === undefined) {
    decoder = new LazyDecoder(desc);
    decoders.set(desc, decoder);
  }
  return decoder;
}

/** The writer of a type, which is compiled at its first use. */
class LazyWriter implements MessageWriter {
  write: MessageWriter["write"];
  /** Undefined before the first use. */
  #isCompiled: boolean | undefined;
  readonly #desc: DescMessage;

  constructor(desc: DescMessage) {
    this.#desc = desc;
    this.write = (output, message) => {
      this.compile();
      this.write(output, message);
    };
  }

  /** Returns false if the closures must encode messages of this type. */
  compile(): boolean {
    if (this.#isCompiled !== undefined) return this.#isCompiled;
    const desc = this.#desc;
    const compiled = compile<MessageWriter>(() => encoderSource(desc, writerFor));
    this.write = compiled?.write ?? writeByClosures(desc);
    this.#isCompiled = compiled !== undefined;
    return this.#isCompiled;
  }
}

function writeByClosures(desc: DescMessage): MessageWriter["write"] {
  return (output, message) => output.raw(encodeByClosures(desc, message, output.options));
}

const writers = new WeakMap<DescMessage, LazyWriter>();

function writerFor(desc: DescMessage): LazyWriter {
  let writer = writers.get(desc);
  if (writer === undefined) {
    writer = new LazyWriter(desc);
    writers.set(desc, writer);
  }
  return writer;
}

/** One output is enough, unless a message is encoded while another one is being encoded or is in use. */
let unusedOutput: Output | undefined;

/** The message that was encoded last, and its output, until it is given back. */
let usedMessage: Uint8Array | undefined;
let usedOutput: Output | undefined;

function encodeBy(writer: MessageWriter, isStrict: boolean): CompiledEncode {
  return (message, options) => {
    const output = unusedOutput ?? new Output();
    // Also while it is being encoded: a getter of the message may encode another one.
    unusedOutput = undefined;
    try {
      output.begin(isStrict, options);
      writer.write(output, message);
    } catch (error) {
      output.release();
      unusedOutput = output;
      throw error;
    }
    usedOutput = output;
    usedMessage = output.finish();
    return usedMessage;
  };
}

/** Does nothing if the message is not the one that was encoded last: its memory is then not used again. */
function giveBack(message: Uint8Array): void {
  if (message !== usedMessage) return;
  unusedOutput = usedOutput as Output;
  usedMessage = usedOutput = undefined;
  unusedOutput.release();
}

export const compiledCodecs: CodecCompiler = {
  encoderOf(desc) {
    // complete() has rules of its own for such names.
    if (hasInherited(desc)) return undefined;
    const writer = writerFor(desc);
    return writer.compile() ? encodeBy(writer, needsLibrary(desc)) : undefined;
  },
  decoderOf(desc) {
    if (hasInherited(desc)) return undefined;
    const decoder = decoderFor(desc);
    return decoder.compile() ? decoder : undefined;
  },
  giveBack,
};
