/** Messages between their typed form and the bytes of a frame. */
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { CallStream, Received } from "../call-stream.ts";
import { NotThatMessage } from "../codec/complete.ts";
import type { Compression } from "../codec/compression.ts";
import { decode, type MessageBytes } from "../codec/decode.ts";
import { encode } from "../codec/encode.ts";
import { compressOnce, type SharedBytes, sharedBytesOf } from "../codec/encoded-once.ts";
import { failure, tooLarge } from "../failure.ts";
import type { Work } from "../flow/semaphore.ts";
import { COMPRESSED } from "./framing.ts";
import type { BinaryOptions, MessageOptions } from "./limits.ts";

/** The call whose messages a MessageWriter writes. */
export interface MessageSender {
  /** The stream that they are written to; asked for when the first one is encoded. */
  outgoing(): Pick<CallStream, "write">;
}

/** What a MessageWriter holds messages to. */
export interface SendOptions extends Omit<MessageOptions, "readMaxBytes"> {
  /** Messages from this size on are compressed; `undefined`: none. */
  readonly compressFromBytes: number | undefined;
}

/**
 * Encodes, checks, compresses and frames the messages of one direction of a
 * call. What is no message is a TypeError, one over the limit a ConnectError.
 */
export class MessageWriter<Desc extends DescMessage> {
  readonly #desc: Desc;
  readonly #writeMaxBytes: number;
  readonly #binaryOptions: BinaryOptions | undefined;
  readonly #compression: Compression;
  readonly #compressFromBytes: number;
  readonly #sender: MessageSender;
  #stream: Pick<CallStream, "write"> | undefined;

  constructor(desc: Desc, options: SendOptions, sender: MessageSender) {
    this.#desc = desc;
    this.#writeMaxBytes = options.writeMaxBytes;
    this.#binaryOptions = options.binaryOptions;
    this.#compressFromBytes = options.compressFromBytes ?? Number.POSITIVE_INFINITY;
    this.#compression = options.compression;
    this.#sender = sender;
  }

  /** From now on messages are written to this stream. */
  useStream(stream: Pick<CallStream, "write">): void {
    this.#stream = stream;
  }

  /** `undefined`: there is capacity for more. A promise: there will be when it resolves. */
  write(message: MessageInitShape<Desc>): Promise<void> | undefined {
    const shared = this.#sharedBytesOf(message);
    const payload = shared?.payload ?? this.#encode(message);
    if (shared !== undefined) shared.payload = payload;
    if (payload.length > this.#writeMaxBytes) {
      throw tooLarge(payload.length, "writeMaxBytes", this.#writeMaxBytes);
    }
    if (payload.length < this.#compressFromBytes) {
      this.#stream ??= this.#sender.outgoing();
      return this.#stream.write(0, payload);
    }
    const compressed =
      shared === undefined
        ? this.#compression.compress(payload)
        : compressOnce(shared, payload, this.#compression);
    return compressed instanceof Promise
      ? compressed.then((bytes) => this.#writeCompressed(bytes))
      : this.#writeCompressed(compressed);
  }

  #writeCompressed(bytes: Uint8Array): Promise<void> | undefined {
    this.#stream ??= this.#sender.outgoing();
    return this.#stream.write(COMPRESSED, bytes);
  }

  /** The shared bytes hold the unknown fields of their message. */
  #sharedBytesOf(message: MessageInitShape<Desc>): SharedBytes | undefined {
    if (this.#binaryOptions?.writeUnknownFields === false) return undefined;
    return sharedBytesOf(this.#desc, message);
  }

  #encode(message: MessageInitShape<Desc>): Uint8Array {
    try {
      return encode(this.#desc, message, this.#binaryOptions);
    } catch (error) {
      if (error instanceof NotThatMessage) throw error;
      const reason = error instanceof Error ? error.message : error;
      throw new TypeError(`a ${this.#desc.typeName} could not be encoded: ${reason}`, {
        cause: error,
      });
    }
  }
}

/** Opens the frames of one direction of a call. */
export class MessageReader<Desc extends DescMessage> {
  readonly #desc: Desc;
  readonly #readMaxBytes: number;
  readonly #binaryOptions: BinaryOptions | undefined;
  readonly #compression: Compression;
  readonly #encoding: string | undefined;
  /** The message that a thread inflates, or will. */
  #inflating: Work<MessageShape<Desc>> | undefined;

  /** @param encoding the grpc-encoding of the stream; "identity" or none means that no message may be compressed */
  constructor(desc: Desc, options: MessageOptions, encoding: string | undefined) {
    this.#desc = desc;
    this.#readMaxBytes = options.readMaxBytes;
    this.#binaryOptions = options.binaryOptions;
    this.#compression = options.compression;
    this.#encoding = encoding === "identity" ? undefined : encoding;
  }

  open(frame: Received): MessageShape<Desc> | Promise<MessageShape<Desc>> {
    const { bytes, start, end } = frame;
    if ((frame.flags & COMPRESSED) === 0) return this.#decode(frame);
    const payload = bytes.subarray(start, end);
    const plain = this.#compression.inflateSmall(payload, this.#readMaxBytes);
    if (plain !== undefined) return this.#decode(whole(plain));
    this.#inflating = this.#compression.inflate(payload, this.#readMaxBytes, (bytes) => {
      // It would hold the message until the next one.
      this.#inflating = undefined;
      return this.#decode(whole(bytes));
    });
    return this.#inflating.done;
  }

  /** Nobody needs the messages any more: one that waits to be inflated fails with `error`. */
  drop(error: unknown): void {
    this.#inflating?.drop(error);
    this.#inflating = undefined;
  }

  /** A compressed message came, read or not: a protocol error where the stream announced no compression. */
  onCompressed(): void {
    if (this.#encoding !== undefined) return;
    throw failure(
      Code.Internal,
      "protocol error: a message is compressed, but no grpc-encoding was announced",
    );
  }

  #decode(message: MessageBytes): MessageShape<Desc> {
    try {
      return decode(this.#desc, message, this.#binaryOptions);
    } catch (error) {
      throw failure(
        Code.Internal,
        `a ${this.#desc.typeName} could not be decoded: ${error instanceof Error ? error.message : error}`,
        error,
      );
    }
  }
}

function whole(bytes: Uint8Array): MessageBytes {
  return { bytes, start: 0, end: bytes.length };
}
