import { crc32 } from "node:zlib";

/** Cuts the data of a stream into gRPC messages, and keeps the checksum of each. */
export class MessageCutter {
  readonly checksums: number[] = [];
  readonly #onMessage: (message: Buffer) => void;
  #parts: Buffer[] = [];
  #bytes = 0;
  #needed = 5;

  constructor(onMessage: (message: Buffer) => void = () => {}) {
    this.#onMessage = onMessage;
  }

  get isBetweenMessages(): boolean {
    return this.#bytes === 0;
  }

  push(bytes: Uint8Array): void {
    this.#parts.push(Buffer.from(bytes));
    this.#bytes += bytes.length;
    while (this.#bytes >= this.#needed) {
      const all =
        this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
      this.#needed = 5 + all.readUInt32BE(1);
      this.#parts = [all];
      if (this.#bytes < this.#needed) return;
      const message = all.subarray(5, this.#needed);
      this.checksums.push(crc32(message));
      this.#onMessage(message);
      this.#parts = [all.subarray(this.#needed)];
      this.#bytes -= this.#needed;
      this.#needed = 5;
    }
  }
}
