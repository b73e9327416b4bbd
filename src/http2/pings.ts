import { readUint32, writeUint32 } from "./frames.ts";
import type { Output } from "./output.ts";

/** The first half of the payload of our pings, "haws"; the second is their number. */
const MARK = 0x68617773;

/** Whether a ping is one of this engine, at the other end: its interval is not limited. */
export function isOwnPing(bytes: Uint8Array, start: number): boolean {
  return readUint32(bytes, start) === MARK;
}

/** The pings that this side has sent and that are not answered. */
export class PendingPings {
  readonly #output: Output;
  #pending: Map<number, () => void> | undefined;
  #count = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  send(onAnswer: () => void): void {
    this.#count = (this.#count + 1) >>> 0;
    this.#pending ??= new Map();
    this.#pending.set(this.#count, onAnswer);
    const payload = new Uint8Array(8);
    writeUint32(payload, 0, MARK);
    writeUint32(payload, 4, this.#count);
    this.#output.ping(false, payload, 0);
  }

  /** An answer came. Returns false if there was no such ping. */
  receiveAnswer(bytes: Uint8Array, start: number): boolean {
    if (!isOwnPing(bytes, start)) return false;
    const number = readUint32(bytes, start + 4);
    const onAnswer = this.#pending?.get(number);
    if (onAnswer === undefined) return false;
    this.#pending?.delete(number);
    onAnswer();
    return true;
  }

  /** The connection has ended: no answer is wanted. */
  clear(): void {
    this.#pending = undefined;
  }
}
