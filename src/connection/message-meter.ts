import { PREFIX_BYTES, readLength } from "../flow/length-prefix.ts";

/**
 * What a body is: many messages, each with a prefix of five bytes; one message; or a stream of bytes, of which its reader holds
 * nothing that it has taken.
 */
export type BodyKind = "messages" | "message" | "stream";

/** What the body of a call is. That of a unary call of Connect is its only message. */
export function bodyKind(contentType: string | undefined): BodyKind {
  return /^application\/(connect\+|grpc)/i.test(contentType ?? "") ? "messages" : "message";
}

/**
 * Counts the bytes of the incomplete message at the end of a body: Connect's handlers hold these bytes, although they have
 * taken them from the stream.
 */
export class MessageMeter {
  readonly #kind: BodyKind;
  readonly #prefix = new Uint8Array(PREFIX_BYTES);
  /** The bytes of the message without its prefix; Infinity until the prefix is complete. */
  #length = Number.POSITIVE_INFINITY;
  #partialBytes = 0;

  constructor(kind: BodyKind) {
    this.#kind = kind;
  }

  get partialBytes(): number {
    return this.#partialBytes;
  }

  push(bytes: Uint8Array): void {
    if (this.#kind !== "messages") {
      if (this.#kind === "message") this.#partialBytes += bytes.length;
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
