import type { Socket } from "node:net";
import { sleep } from "../flow/wait.ts";
import { resetSocket } from "../node/reset-socket.ts";

/** A direction stops reading when it holds this many bytes, so that the sender's socket fills up. */
const HELD_BYTES = 64 << 10;

/** The same limit while bytes are delayed. It is higher, because delayed bytes must not hold back those after them. */
const DELAYED_BYTES = 16 << 20;

const NOTHING = Buffer.alloc(0);
const NO_DELAY = { ms: 0 };

/** Bytes, or an end, that one socket has sent and the other has not received yet. */
interface Item {
  /** When it may be delivered, on the clock of performance.now(). */
  readonly dueAtMs: number;
  readonly what: Buffer | "fin" | "rst";
}

/** The two sockets of one direction of a connection: `to` gets what `from` sends. */
export interface LinkRoute {
  readonly from: Socket;
  readonly to: Socket;
}

/** Is told what becomes of a cut: one of its functions is called, once. */
export interface CutListener {
  /** The connection that the final byte was for must be cut now. */
  onCut(route: LinkRoute): void;
  /** There will be no cut: a later one replaced it, or the link was closed. `passedBytes` of its bytes have passed. */
  onNoCut(reason: "replaced" | "closed", passedBytes: number): void;
}

/** A cut that waits for its final byte. */
interface WaitingCut {
  /** After how many bytes it cuts. */
  readonly bytes: number;
  /** How many of them have passed. They count as soon as they are written, so that no two writes take the same. */
  passedBytes: number;
  readonly listener: CutListener;
}

/** One direction of a link: takes bytes from one socket of each connection and delivers them to the other. */
export class LinkDirection {
  /** Reads everything and delivers nothing, like a cable that is unplugged behind a switch which still answers. */
  dropping = false;
  /** Delivers at most this many bytes per second. Default: no limit. */
  bytesPerSecond = Number.POSITIVE_INFINITY;
  #delivered = 0;
  #delay = NO_DELAY;
  #cut: WaitingCut | undefined;
  readonly #stalls = new Set<symbol>();
  readonly #closing: AbortSignal;
  readonly #waiting = new Set<() => void>();

  /** @param closing aborts when the link is closed: nothing is delivered after that */
  constructor(closing: AbortSignal) {
    this.#closing = closing;
    closing.addEventListener("abort", () => this.#onClosing(), { once: true });
  }

  /** How many bytes were delivered, over all connections. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Whether new bytes, and the end of a connection, are delivered later. */
  get holdsBack(): boolean {
    return this.#stalls.size > 0 || this.#delay.ms > 0;
  }

  /** Delivers nothing until the returned value is disposed, or resume() is called. */
  stall(): Disposable {
    const stall = Symbol();
    this.#stalls.add(stall);
    return {
      [Symbol.dispose]: () => {
        if (this.#stalls.delete(stall)) this.#wake();
      },
    };
  }

  resume(): void {
    this.#stalls.clear();
    this.#wake();
  }

  /**
   * Delivers bytes that arrive from now on this much later, until the next delay(), or until the returned value is
   * disposed.
   */
  delay(ms: number): Disposable {
    const delay = { ms };
    this.#delay = delay;
    return {
      [Symbol.dispose]: () => {
        if (this.#delay === delay) this.#delay = NO_DELAY;
      },
    };
  }

  /** Delivers this many more bytes, then calls onCut(). A later cut replaces one that still waits. */
  cutAfter(bytes: number, listener: CutListener): void {
    this.#dropCut("replaced");
    this.#cut = { bytes, passedBytes: 0, listener };
  }

  forward(route: LinkRoute): void {
    const { from, to } = route;
    const items: Item[] = [];
    let heldBytes = 0;
    const add = (what: Item["what"]) => {
      items.push({ dueAtMs: performance.now() + this.#delay.ms, what });
      this.#wake();
    };
    from.on("data", (bytes: Buffer) => {
      heldBytes += bytes.length;
      if (heldBytes > (this.#delay.ms > 0 ? DELAYED_BYTES : HELD_BYTES)) from.pause();
      add(bytes);
    });
    from.on("end", () => add("fin"));
    from.on("error", () => {
      // RST overtakes bytes that wait to be read, but neither a stall nor a delay.
      if (this.holdsBack) add("rst");
      else resetSocket(to);
    });
    from.on("close", () => this.#wake());

    const deliver = async () => {
      while (!to.destroyed && !this.#closing.aborted) {
        const item = items[0];
        const waitMs = item === undefined ? 0 : item.dueAtMs - performance.now();
        if (item === undefined || this.#stalls.size > 0) await this.#change(to);
        else if (waitMs > 0) await sleep(Math.ceil(waitMs), this.#closing);
        else if (item.what === "rst") resetSocket(to);
        else if (item.what === "fin") {
          items.shift();
          to.end();
        } else {
          // After a cut with FIN nothing more is delivered.
          const rest = to.writable ? await this.#write(item.what, route) : NOTHING;
          if (rest.length > 0) items[0] = { dueAtMs: 0, what: rest };
          else items.shift();
          heldBytes -= item.what.length - rest.length;
          if (heldBytes === 0 && from.isPaused()) from.resume();
        }
      }
    };
    void deliver();
  }

  /** Writes as much as may be sent now; resolves with the rest. */
  async #write(bytes: Buffer, route: LinkRoute): Promise<Buffer> {
    if (this.dropping) return bytes.subarray(bytes.length);
    const share = Math.max(1, Math.ceil(this.bytesPerSecond / 100));
    const cut = this.#cut;
    const bytesUntilCut = cut === undefined ? Infinity : cut.bytes - cut.passedBytes;
    const now = bytes.subarray(0, Math.min(bytes.length, share, bytesUntilCut));
    const isFinal = now.length === bytesUntilCut;
    if (cut !== undefined) cut.passedBytes += now.length;
    // From here on the cut belongs to this connection: no other one takes it, and no later cut replaces it.
    if (isFinal) this.#cut = undefined;
    if (now.length > 0) {
      await new Promise<void>((resolve) => route.to.write(now, () => resolve()));
      this.#delivered += now.length;
    }
    if (isFinal) cut?.listener.onCut(route);
    else if (Number.isFinite(this.bytesPerSecond)) {
      await sleep((now.length / this.bytesPerSecond) * 1000, this.#closing);
    }
    return bytes.subarray(now.length);
  }

  /** Resolves when bytes arrive, the link changes, or the connection ends. */
  #change(to: Socket): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        to.off("close", wake);
        resolve();
      };
      this.#waiting.add(wake);
      to.once("close", wake);
    });
  }

  #dropCut(reason: "replaced" | "closed"): void {
    const cut = this.#cut;
    this.#cut = undefined;
    cut?.listener.onNoCut(reason, cut.passedBytes);
  }

  #onClosing(): void {
    this.#dropCut("closed");
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
