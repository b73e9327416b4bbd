import { PREFIX_BYTES, readLength } from "../flow/length-prefix.ts";

/** Whether each message of a body has a prefix of five bytes. The body of a unary call of Connect is its only message. */
export function hasPrefixes(contentType: string | undefined): boolean {
  return /^application\/(connect\+|grpc)/i.test(contentType ?? "");
}

/**
 * Counts the bytes of the incomplete message at the end of a body: Connect's handlers hold these bytes, although they have
 * taken them from the stream.
 */
export class MessageMeter {
  readonly #hasPrefixes: boolean;
  readonly #prefix = new Uint8Array(PREFIX_BYTES);
  /** The bytes of the message without its prefix; Infinity until the prefix is complete. */
  #length = Number.POSITIVE_INFINITY;
  #partialBytes = 0;

  /** @param hasPrefixes whether each message has a prefix of five bytes; else the body is one message */
  constructor(hasPrefixes: boolean) {
    this.#hasPrefixes = hasPrefixes;
  }

  get partialBytes(): number {
    return this.#partialBytes;
  }

  push(bytes: Uint8Array): void {
    if (!this.#hasPrefixes) {
      this.#partialBytes += bytes.length;
      return;
    }
    for (let at = 0; at < bytes.length; ) {
      if (this.#partialBytes < PREFIX_BYTES) {
        this.#prefix[this.#partialBytes++] = bytes[at++] as number;
        if (this.#partialBytes === PREFIX_BYTES) this.#length = readLength(this.#prefix, 0);
      } else {
        const missing = PREFIX_BYTES + this.#length - this.#partialBytes;
        const taken = Math.min(missing, bytes.length - at);
        this.#partialBytes += taken;
        at += taken;
      }
      if (this.#partialBytes === PREFIX_BYTES + this.#length) this.clear();
    }
  }

  /** Forgets the incomplete message: nothing holds it any more. */
  clear(): void {
    this.#partialBytes = 0;
    this.#length = Number.POSITIVE_INFINITY;
  }
}
