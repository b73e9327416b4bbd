import type { SentFields } from "./fixed-fields.ts";
import { PREFIX_BYTES } from "./output.ts";

/** What waits, beside gRPC messages: these have their flags (0 to 255) as kind. */
export const BYTES = -1;
export const FIELDS = -2;
/** The end of this side, with trailers or without. */
export const END = -3;

/**
 * What a stream was given to send and could not yet: headers, data, the end, in order. A stream has one only while
 * something waits. Payloads are kept by reference, unless copyRest() is called.
 */
export class WaitingOutput {
  /** Bytes of data, with the prefixes of messages. */
  bytes = 0;
  /** Whether onDrain() is to be called when nothing waits any more. */
  needsDrain = false;
  /** The bytes that were sent of the first item. */
  offset = 0;
  readonly #kinds: number[] = [];
  readonly #items: (Uint8Array | SentFields | undefined)[] = [];
  #first = 0;

  get isEmpty(): boolean {
    return this.#first === this.#kinds.length;
  }

  /** The kind of the first item: BYTES, FIELDS, END, or the flags of a message. */
  get kind(): number {
    return this.#kinds[this.#first] as number;
  }

  /** The first item, if it is of data. */
  get payload(): Uint8Array {
    return this.#items[this.#first] as Uint8Array;
  }

  /** The first item, if it is FIELDS or END. */
  get fields(): SentFields | undefined {
    return this.#items[this.#first] as SentFields | undefined;
  }

  /** The bytes of the first item that were not sent, if it is of data. */
  get left(): number {
    const { length } = this.payload;
    return (this.kind === BYTES ? length : length + PREFIX_BYTES) - this.offset;
  }

  add(kind: number, item: Uint8Array | SentFields | undefined): void {
    this.#kinds.push(kind);
    this.#items.push(item);
    if (kind === BYTES) this.bytes += (item as Uint8Array).length;
    else if (kind >= 0) this.bytes += (item as Uint8Array).length + PREFIX_BYTES;
  }

  /** Copies what was not sent of a payload. */
  copyRest(payload: Uint8Array): void {
    const at = this.#items.lastIndexOf(payload);
    if (at < 0) return;
    const prefixBytes = this.#kinds[at] === BYTES ? 0 : PREFIX_BYTES;
    const sentBytes = at === this.#first ? this.offset - prefixBytes : 0;
    if (sentBytes <= 0) this.#items[at] = new Uint8Array(payload);
    else {
      this.#kinds[at] = BYTES;
      this.#items[at] = new Uint8Array(payload.subarray(sentBytes));
      this.offset = 0;
    }
  }

  /** Notes that `bytes` more of the first item were sent. */
  advance(bytes: number): void {
    this.bytes -= bytes;
    if (bytes === this.left) this.shift();
    else this.offset += bytes;
  }

  /** Removes the first item. */
  shift(): void {
    this.#items[this.#first++] = undefined;
    this.offset = 0;
    // Many small messages may wait for a long time: what was sent is removed now and then.
    if (this.#first >= 64 && this.#first * 2 >= this.#items.length) {
      this.#items.splice(0, this.#first);
      this.#kinds.splice(0, this.#first);
      this.#first = 0;
    }
  }
}
