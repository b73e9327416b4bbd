import { End, type EndOptions } from "./end.ts";

/** How many of the waiting bytes are delivered next; `sent` were before. */
export type Cut = (sent: number, waiting: number) => number;

export const whole: Cut = (_, waiting) => waiting;
export const byteByByte: Cut = () => 1;
/** In two parts: the second one is delivered when everything that the first one causes was. */
export const cutAt =
  (offset: number): Cut =>
  (sent, waiting) =>
    sent < offset ? Math.min(offset - sent, waiting) : waiting;

/** One direction. */
class Wire {
  readonly from: End;
  readonly to: End;
  readonly cut: Cut;
  sent = 0;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;

  constructor(from: End, to: End, cut: Cut) {
    this.from = from;
    this.to = to;
    this.cut = cut;
  }

  /** Delivers a piece; returns whether there was one. */
  step(): boolean {
    const output = this.from.takeOutput();
    if (output.length > 0) this.#waiting.push(output);
    this.#waitingBytes += output.length;
    if (this.#waitingBytes === 0) return this.#end();
    const size = this.cut(this.sent, this.#waitingBytes);
    if (size === 0) return false;
    const piece = this.#take(size);
    this.sent += size;
    if (this.to.end !== undefined) return true;
    this.to.receive(piece);
    // The engine may keep no view of what it received.
    piece.fill(0xbb);
    return true;
  }

  /** Ends the pipe as a driver does, when the engine is closed and all of its output was delivered. */
  #end(): boolean {
    if (this.from.end === undefined || this.to.end !== undefined) return false;
    this.to.connection.endOfInput();
    return true;
  }

  /** A copy of the bytes that are next. */
  #take(size: number): Buffer {
    this.#waitingBytes -= size;
    const piece = Buffer.alloc(size);
    for (let at = 0; at < size; ) {
      const first = this.#waiting[0] as Buffer;
      const taken = first.copy(piece, at, 0, size - at);
      at += taken;
      if (taken === first.length) this.#waiting.shift();
      else this.#waiting[0] = first.subarray(taken);
    }
    return piece;
  }
}

export interface LinkOptions {
  readonly client?: Omit<EndOptions, "role">;
  readonly server?: Omit<EndOptions, "role">;
  /** How the bytes of the client, and those of the server, are cut. */
  readonly up?: Cut;
  readonly down?: Cut;
}

/** Two engines and the bytes between them. */
export class Link {
  readonly client: End;
  readonly server: End;
  readonly up: Wire;
  readonly down: Wire;

  constructor({ client, server, up = whole, down = whole }: LinkOptions) {
    this.client = new End({ ...client, role: "client" });
    this.server = new End({ time: this.client.time, ...server, role: "server" });
    this.up = new Wire(this.client, this.server, up);
    this.down = new Wire(this.server, this.client, down);
  }

  /** Delivers until no bytes are left. */
  run(): void {
    for (let steps = 0; ; steps++) {
      const wentUp = this.up.step();
      const wentDown = this.down.step();
      if (!wentUp && !wentDown) return;
      if (steps > 2_000_000) throw new Error("the engines never stop to send");
    }
  }

  /** The pipe ends, for both. */
  end(): void {
    for (const end of [this.client, this.server]) {
      if (end.end === undefined) end.connection.endOfInput();
    }
  }

  get violations(): string[] {
    return [
      ...this.client.violations.map((one) => `client: ${one}`),
      ...this.server.violations.map((one) => `server: ${one}`),
    ];
  }
}
