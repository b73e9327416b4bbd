import type { BytePipe } from "../../connection/byte-pipe.ts";
import type { ConnectionMemory } from "../../connection/connection-memory.ts";
import type { BudgetedStream } from "../../connection/receive-budget.ts";
import { FrameScanner } from "./frame-scanner.ts";

/** The approximate cost of a read of the socket that is held, beside its bytes. */
const READ_BYTES = 512;

/** Less than this is not counted: the connection itself costs more. */
const LEAST_COUNTED_BYTES = 4096;

/** A connection whose budgets count what a pipe holds. */
export interface CountingConnection {
  readonly memory: ConnectionMemory;
}

/** A BytePipe that may hold a message which is not complete. */
export interface CountedPipe extends BytePipe {
  /** Has the budgets of a connection count what is held of the message. */
  countIn(connection: CountingConnection): void;
}

/** What an UnfinishedMessage needs from its pipe. */
export interface UnfinishedMessageOwner {
  /** Called when the WebSocket is to be closed, so that `ws` drops the message. */
  endOverBudget(): void;
}

/**
 * The message of a WebSocket that is not complete. `ws` holds what has arrived of it, and each read of the socket that has a part
 * of it; the budgets of unread bytes count that. The message may always continue, as a call may always fill its first window:
 * it cannot become larger than `ws` allows.
 */
export class UnfinishedMessage implements BudgetedStream {
  readonly #owner: UnfinishedMessageOwner;
  readonly #scanner = new FrameScanner();
  /** What counts the bytes; undefined while none are counted. */
  #memory: ConnectionMemory | undefined;
  #connection: CountingConnection | undefined;
  heldBytes = 0;
  #countedBytes = 0;
  readonly untaken = 0;
  readonly waitingBytes = 0;
  readonly countedWaitingBytes = 0;
  readonly hasCredit = true;
  progress = 0;
  rosterIndex = -1;

  constructor(owner: UnfinishedMessageOwner) {
    this.#owner = owner;
  }

  /** Sets the connection whose memory counts the bytes. */
  countIn(connection: CountingConnection): void {
    this.#connection = connection;
  }

  /** Takes what a read of the socket has brought, which `ws` has handled. Returns how many fragments of it a flood may be. */
  onRead(chunk: Uint8Array): number {
    const scanner = this.#scanner;
    const { tinyFragments } = scanner;
    // A rest of a read keeps all of it in memory.
    const isNew = scanner.scan(chunk);
    const before = isNew ? 0 : this.heldBytes;
    this.heldBytes = scanner.isIncomplete ? before + chunk.length + READ_BYTES : 0;
    this.progress++;
    this.recount();
    return scanner.tinyFragments - tinyFragments;
  }

  /** Nothing is held any more. */
  drop(): void {
    this.heldBytes = 0;
    this.recount();
    this.#connection = undefined;
  }

  // BudgetedStream: called by the budgets.

  get partialBytes(): number {
    return this.heldBytes;
  }

  recount(): void {
    const isCounted = this.heldBytes >= LEAST_COUNTED_BYTES;
    if (isCounted && this.#memory === undefined) {
      this.#memory = this.#connection?.memory;
      this.#memory?.add(this);
    }
    const bytes = isCounted ? this.heldBytes : 0;
    const more = bytes - this.#countedBytes;
    const memory = this.#memory;
    if (more === 0 || memory === undefined) return;
    this.#countedBytes = bytes;
    memory.count(more, 0);
    if (isCounted) return;
    this.#memory = undefined;
    memory.remove(this);
  }

  shrinkWindow(): void {}

  shrinkIdleWindow(): void {}

  settle(): void {
    this.recount();
  }

  endOverBudget(): void {
    this.#owner.endOverBudget();
  }
}
