import {
  type BinaryReadOptions,
  create,
  type DescMessage,
  type MessageShape,
} from "@bufbuild/protobuf";
import { messageBuffers } from "../flow/message-buffers.ts";
import { decoderOf } from "./closure-decoder.ts";
import { type CompiledDecoder, CompiledLater, NO_GROUP } from "./compiler.ts";
import type { Fields } from "./decoder.ts";
import type { WireInput } from "./wire-input.ts";

/** As in upb: the message itself, and 100 within it. */
const RECURSION_LIMIT = 101;

/** The bytes of a message: from `start` up to `end`. */
export interface MessageBytes {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Whether decode() gives `bytes` to `messageBuffers`, unless the message has parts of it. Default: false. */
  readonly isReusable?: boolean;
}

const decoders = new WeakMap<DescMessage, MessageDecoder<never>>();

/** Decodes the messages of one type. */
export class MessageDecoder<Desc extends DescMessage> {
  readonly #desc: Desc;
  readonly #code: CompiledLater<CompiledDecoder>;

  constructor(desc: Desc) {
    this.#desc = desc;
    this.#code = new CompiledLater((compiler) => compiler.decoderOf(desc));
  }

  /**
   * Decodes a message where its bytes are; protobuf-es' fromBinary() makes a reader, a view and a context for each. The
   * result is what fromBinary() returns, but what is accepted is what upb accepts. fromBinary() differs from that (a value
   * that overruns its message, a field with another's wire type …): test/protobuf/vectors.json lists the differences.
   * Throws an Error if upb refuses the bytes.
   */
  decode(bytes: MessageBytes, options: Partial<BinaryReadOptions> | undefined): MessageShape<Desc> {
    const { compiled } = this.#code;
    if (compiled === undefined) {
      this.#code.countUse();
      return decodeByClosures(this.#desc, bytes, options);
    }
    const message = compiled.create();
    compiled.read(inputOf(bytes, options), message, NO_GROUP);
    giveBack(bytes);
    return message as MessageShape<Desc>;
  }
}

/** Returns the decoder of a type, which all its messages share. */
export function messageDecoder<Desc extends DescMessage>(desc: Desc): MessageDecoder<Desc> {
  let decoder = decoders.get(desc) as MessageDecoder<Desc> | undefined;
  if (decoder === undefined) {
    decoder = new MessageDecoder(desc);
    decoders.set(desc, decoder as MessageDecoder<never>);
  }
  return decoder;
}

/** Decodes as a MessageDecoder does, without generated code. */
export function decodeByClosures<Desc extends DescMessage>(
  desc: Desc,
  bytes: MessageBytes,
  options?: Partial<BinaryReadOptions>,
): MessageShape<Desc> {
  const message = create(desc);
  decoderOf(desc).read(inputOf(bytes, options), message as Fields);
  giveBack(bytes);
  return message;
}

/** Gives back the memory of the message that was decoded. */
function giveBack({ bytes, isReusable }: MessageBytes): void {
  if (isReusable && !input.isShared) messageBuffers.giveBack(bytes);
}

/** Decoding is synchronous, so one input is enough. */
const input: WireInput = {
  bytes: new Uint8Array(),
  at: 0,
  end: 0,
  depthLeft: 0,
  recursionLimit: 0,
  readUnknownFields: true,
  isShared: false,
};

/** Sets the input to the bytes of a message. */
export function inputOf(
  { bytes, start, end }: MessageBytes,
  options: Partial<BinaryReadOptions> | undefined,
): WireInput {
  input.bytes = bytes;
  input.at = start;
  input.end = end;
  input.recursionLimit = options?.recursionLimit ?? RECURSION_LIMIT;
  input.depthLeft = input.recursionLimit;
  input.readUnknownFields = options?.readUnknownFields ?? true;
  input.isShared = false;
  return input;
}
