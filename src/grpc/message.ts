/** Messages between their typed form and the bytes of a frame. */
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type CallStream, IN_NO_RUN, type Received } from "../call-stream.ts";
import { giveBackEncoded } from "../codec/compiler.ts";
import { NotThatMessage } from "../codec/complete.ts";
import { type MessageBytes, type MessageDecoder, messageDecoder } from "../codec/decode.ts";
import { type MessageEncoder, messageEncoder } from "../codec/encode.ts";
import { compressOnce, type SharedBytes, sharedBytesOf } from "../codec/encoded-once.ts";
import { frameRuns } from "../codec/frame-runs.ts";
import { failure, peerFailure, tooLarge } from "../failure.ts";
import { messageBuffers } from "../flow/message-buffers.ts";
import type { Work } from "../flow/semaphore.ts";
import { inLaterSlice, slices } from "../flow/slice.ts";
import { COMPRESSED } from "./framing.ts";
import type { MessageOptions } from "./limits.ts";

/** The call whose messages a MessageWriter writes. */
export interface MessageSender {
  /** Returns the stream of the call; called when the first message is encoded. */
  outgoing(): Pick<CallStream, "write">;
}

/** The options of a MessageWriter. */
export interface SendOptions {
  readonly messages: MessageOptions;
  /** Messages of at least this size are compressed; `undefined`: none are. */
  readonly compressFromBytes: number | undefined;
}

/**
 * Encodes, checks, compresses and writes the messages of one direction of a
 * call. Throws a TypeError if a value is not a message of the type, and a
 * ConnectError if it is over the limit.
 */
export class MessageWriter<Desc extends DescMessage> {
  readonly #desc: Desc;
  readonly #encoder: MessageEncoder<Desc>;
  readonly #options: MessageOptions;
  readonly #compressFromBytes: number | undefined;
  readonly #sender: MessageSender;
  #stream: Pick<CallStream, "write"> | undefined;

  constructor(desc: Desc, options: SendOptions, sender: MessageSender) {
    this.#desc = desc;
    this.#encoder = messageEncoder(desc);
    this.#options = options.messages;
    this.#compressFromBytes = options.compressFromBytes;
    this.#sender = sender;
  }

  /** Writes messages to this stream from now on. */
  useStream(stream: Pick<CallStream, "write">): void {
    this.#stream = stream;
  }

  /** Returns as CallStream.write() does. */
  write(message: MessageInitShape<Desc>): Promise<void> | undefined {
    const shared = this.#sharedBytesOf(message);
    if (shared?.payload !== undefined) return this.#writePayload(shared.payload, shared);
    const encoded = this.#encode(message);
    try {
      if (shared === undefined) return this.#writePayload(encoded);
      shared.payload = new Uint8Array(encoded);
      shared.frame = frameRuns.add(shared.payload);
      return this.#writePayload(shared.payload, shared);
    } finally {
      giveBackEncoded(encoded);
    }
  }

  /** @param shared if other calls send the same bytes */
  #writePayload(payload: Uint8Array, shared?: SharedBytes): Promise<void> | undefined {
    const { writeMaxBytes, compression } = this.#options;
    if (payload.length > writeMaxBytes) {
      throw tooLarge(payload.length, "writeMaxBytes", writeMaxBytes);
    }
    if (this.#compressFromBytes === undefined || payload.length < this.#compressFromBytes) {
      this.#stream ??= this.#sender.outgoing();
      return this.#stream.write(0, payload, shared?.frame);
    }
    const compressed =
      shared === undefined
        ? compression.compress(payload)
        : compressOnce(shared, payload, compression);
    return compressed instanceof Promise
      ? compressed.then((bytes) => this.#writeCompressed(bytes, shared))
      : this.#writeCompressed(compressed, shared);
  }

  #writeCompressed(bytes: Uint8Array, shared: SharedBytes | undefined): Promise<void> | undefined {
    this.#stream ??= this.#sender.outgoing();
    return this.#stream.write(COMPRESSED, bytes, shared && IN_NO_RUN);
  }

  /**
   * The bytes of an encodedOnce() message. They contain its unknown fields, so they are not used if those are left out.
   */
  #sharedBytesOf(message: MessageInitShape<Desc>): SharedBytes | undefined {
    if (this.#options.binaryOptions?.writeUnknownFields === false) return undefined;
    return sharedBytesOf(this.#desc, message);
  }

  #encode(message: MessageInitShape<Desc>): Uint8Array {
    try {
      return this.#encoder.encode(message, this.#options.binaryOptions);
    } catch (error) {
      if (error instanceof NotThatMessage) throw error;
      const reason = error instanceof Error ? error.message : error;
      throw new TypeError(`a ${this.#desc.typeName} could not be encoded: ${reason}`, {
        cause: error,
      });
    }
  }
}

/** How the messages of a MessageReader are decompressed. */
export interface ReceiveOptions {
  /** The grpc-encoding of the stream; with "identity" or none no message may be compressed. */
  readonly encoding: string | undefined;
  /** The owner of the messages: several owners take turns. `undefined`: all such calls of this process are one owner. */
  readonly turnsOf?: object;
}

/** Decompresses and decodes the messages of one direction of a call. */
export class MessageReader<Desc extends DescMessage> {
  readonly #desc: Desc;
  readonly #decoder: MessageDecoder<Desc>;
  readonly #options: MessageOptions;
  readonly #encoding: string | undefined;
  readonly #turnsOf: object | undefined;
  /** The message that waits for a slice or a thread to decompress it, or is being decompressed. */
  #inflating: Work<MessageShape<Desc>> | undefined;

  constructor(desc: Desc, options: MessageOptions, { encoding, turnsOf }: ReceiveOptions) {
    this.#desc = desc;
    this.#decoder = messageDecoder(desc);
    this.#options = options;
    this.#encoding = encoding === "identity" ? undefined : encoding;
    this.#turnsOf = turnsOf;
  }

  /** @param stream counts the bytes of a message that waits to be decompressed */
  open(
    frame: Received,
    stream: Pick<CallStream, "hold">,
  ): MessageShape<Desc> | Promise<MessageShape<Desc>> {
    if ((frame.flags & COMPRESSED) === 0) return this.#decode(frame);
    const message = slices.countMessage() ? this.#inflateLater(frame) : this.#inflate(frame);
    if (!(message instanceof Promise)) return message;
    const size = frame.end - frame.start;
    stream.hold(size);
    return message.finally(() => stream.hold(-size));
  }

  #inflateLater(frame: Received): Promise<MessageShape<Desc>> {
    this.#inflating = inLaterSlice(() => {
      this.#inflating = undefined;
      return this.#inflate(frame);
    });
    return this.#inflating.done;
  }

  #inflate(frame: Received): MessageShape<Desc> | Promise<MessageShape<Desc>> {
    const { bytes, start, end } = frame;
    const payload = bytes.subarray(start, end);
    const { compression, readMaxBytes } = this.#options;
    const plain = compression.inflateSmall(payload, readMaxBytes);
    if (plain !== undefined) {
      giveBack(frame);
      return this.#decode(whole(plain));
    }
    const limits = { readMaxBytes, owner: this.#turnsOf };
    this.#inflating = compression.inflate(payload, limits, (bytes) => {
      // The Work would keep the message in memory until the next one.
      this.#inflating = undefined;
      giveBack(frame);
      return this.#decode(whole(bytes));
    });
    return this.#inflating.done;
  }

  /** Fails the message that waits to be decompressed with `error`: the call has ended. */
  drop(error: unknown): void {
    this.#inflating?.drop(error);
    this.#inflating = undefined;
  }

  /** Called for each compressed message when it arrives. Throws if the stream announced no compression. */
  onCompressed(): void {
    if (this.#encoding !== undefined) return;
    throw peerFailure(
      Code.Internal,
      "protocol error: a message is compressed, but no grpc-encoding was announced",
    );
  }

  #decode(message: MessageBytes): MessageShape<Desc> {
    try {
      return this.#decoder.decode(message, this.#options.binaryOptions);
    } catch (error) {
      throw failure(
        Code.Internal,
        `a ${this.#desc.typeName} could not be decoded: ${error instanceof Error ? error.message : error}`,
        error,
      );
    }
  }
}

/** Gives back the memory of a message that was decompressed. */
function giveBack({ bytes, isReusable }: Received): void {
  if (isReusable) messageBuffers.giveBack(bytes);
}

function whole(bytes: Uint8Array): MessageBytes {
  return { bytes, start: 0, end: bytes.length };
}
