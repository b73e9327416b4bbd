import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { Spool } from "./spool.ts";

/** How much of a session may be unacknowledged (session.proto, 6). */
export interface Window {
  readonly bytes: number;
  readonly messages: number;
}

/** The default of either side: 1 MiB, and about 16 ms of the fastest stream. */
export const DEFAULT_WINDOW: Window = { bytes: 1024 * 1024, messages: 16_384 };

/** The smaller of both in each; one of the two itself where it is, for there are many. */
function smaller(a: Window, b: Window): Window {
  const window = {
    bytes: Math.min(a.bytes, b.bytes),
    messages: Math.min(a.messages, b.messages),
  };
  return window.bytes === a.bytes && window.messages === a.messages ? a : window;
}

/** How much many sessions hold together, in bytes. */
export interface Account {
  bytes: number;
}

/** What is wrong with a count of the other side. */
export type Violation = "gap" | "above";

/** What a kept message costs beside its bytes, about. */
const ENTRY_BYTES = 16;

/**
 * The window of one side of a session, both ways: what it has sent and keeps until it is
 * acknowledged, and how much it has received, handed to the application and
 * acknowledged. It knows no streams and no time.
 */
export class SessionWindow {
  readonly #own: Window;
  #window: Window;
  readonly #account: Account;
  /** The messages that were sent and are not acknowledged, for the stream of the session to write. */
  readonly kept = new Spool();
  #acknowledged = 0;
  #ended = false;
  #received = 0;
  #heldBytes = 0;
  #taken = 0;
  #ackSent = 0;
  #ackPendingBytes = 0;
  #closed = false;

  /** @param start the count that both directions begin with: for tests of their end */
  constructor(window: Window, account: Account, start = 0) {
    this.#own = this.#window = window;
    this.#account = account;
    this.#acknowledged = this.#received = this.#taken = this.#ackSent = start;
  }

  // What this side sends.

  /** How many messages were sent. */
  get sent(): number {
    return this.#acknowledged + this.kept.messages;
  }

  /** How many of them the other side has acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Whether no more may be sent before an acknowledgement. */
  get full(): boolean {
    return this.kept.bytes >= this.#window.bytes || this.kept.messages >= this.#window.messages;
  }

  /** Whether this side has half-closed. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Keeps a message that is sent. Returns whether the window is full now. */
  push(flags: number, payload: Uint8Array): boolean {
    if (this.#closed) return false;
    checkCount(this.sent);
    this.kept.push(flags, payload);
    this.#account.bytes += payload.length + ENTRY_BYTES;
    return this.full;
  }

  /** This side half-closes. */
  end(): void {
    this.#ended = true;
  }

  /** The other side acknowledged `count` messages: they are kept no longer. An older count is ignored. */
  acknowledge(count: number): Violation | undefined {
    if (count > this.sent) return "above";
    const news = count - this.#acknowledged;
    if (news <= 0) return undefined;
    this.#account.bytes -= this.kept.drop(news) + news * ENTRY_BYTES;
    this.#acknowledged = count;
    return undefined;
  }

  /** What is wrong, if anything, where the other side has received `received` messages. */
  checkResume(received: number): Violation | undefined {
    if (received > this.sent) return "above";
    return received < this.#acknowledged ? "gap" : undefined;
  }

  /** Has everything after the first `received` messages sent again. */
  rewind(received: number): void {
    this.kept.rewind(received - this.#acknowledged);
  }

  // What this side receives.

  get received(): number {
    return this.#received;
  }

  /** How many messages the application has taken. */
  get delivered(): number {
    return this.#taken;
  }

  /** Counts a message that came; `false` where the other side exceeds the window. */
  receive(bytes: number): boolean {
    if (this.#closed) return true;
    checkCount(this.#received);
    // The last one may go over the bytes.
    if (
      this.#received - this.#ackSent >= this.#window.messages ||
      this.#heldBytes + this.#ackPendingBytes >= this.#window.bytes
    ) {
      return false;
    }
    this.#received++;
    this.#heldBytes += bytes;
    this.#account.bytes += bytes + ENTRY_BYTES;
    return true;
  }

  /** The application took a message; whether it is time to acknowledge. */
  take(bytes: number): boolean {
    if (this.#closed) return false;
    this.#taken++;
    this.#heldBytes -= bytes;
    this.#ackPendingBytes += bytes;
    this.#account.bytes -= bytes + ENTRY_BYTES;
    return (
      (this.#taken - this.#ackSent) * 2 >= this.#window.messages ||
      this.#ackPendingBytes * 2 >= this.#window.bytes
    );
  }

  /** Whether there is something to acknowledge. */
  get ackPending(): boolean {
    return this.#taken > this.#ackSent && !this.#closed;
  }

  /** Returns the count to acknowledge, and notes that it is acknowledged. */
  markAcknowledged(): number {
    this.#ackSent = this.#taken;
    this.#ackPendingBytes = 0;
    return this.#taken;
  }

  /** The other side says its window, the first time or anew. */
  setPeerWindow(theirs: Window): void {
    this.#window = smaller(this.#own, theirs);
  }

  get window(): Window {
    return this.#window;
  }

  /** The application takes no more: counts what it has not taken as taken. */
  takeAll(): void {
    this.#account.bytes -= this.#heldBytes + (this.#received - this.#taken) * ENTRY_BYTES;
    this.#ackPendingBytes += this.#heldBytes;
    this.#heldBytes = 0;
    this.#taken = this.#received;
  }

  /** Lets go of everything; nothing is kept or counted any more. */
  close(): void {
    if (this.#closed) return;
    this.takeAll();
    this.#account.bytes -= this.kept.bytes + this.kept.messages * ENTRY_BYTES;
    this.#closed = true;
    this.kept.clear();
  }
}

/** Past 2^53 - 1 a count would no longer be exact (session.proto, 9). */
function checkCount(count: number): void {
  if (count < Number.MAX_SAFE_INTEGER) return;
  throw failure(Code.OutOfRange, "a session cannot count more than 2^53 - 1 messages");
}
