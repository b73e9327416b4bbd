import { Code } from "@connectrpc/connect";
import type { SharedFrame } from "../call-stream.ts";
import { failure } from "../failure.ts";
import { Spool } from "./spool.ts";

/** The most that may be unacknowledged in one direction of a session (session.proto, 6). */
export interface Window {
  readonly bytes: number;
  readonly messages: number;
}

/** The default of either side: 1 MiB, and about 16 ms of the fastest stream. */
export const DEFAULT_WINDOW: Window = { bytes: 1024 * 1024, messages: 16_384 };

/** The smaller value of both in bytes and in messages. Returns `a` itself if possible: there are many sessions. */
function smaller(a: Window, b: Window): Window {
  const window = {
    bytes: Math.min(a.bytes, b.bytes),
    messages: Math.min(a.messages, b.messages),
  };
  return window.bytes === a.bytes && window.messages === a.messages ? a : window;
}

/** Counts the bytes that sessions hold. */
export interface ByteCount {
  /** Whether there is no capacity for more: then a session sends no second message before an acknowledgement. */
  readonly isOver: boolean;
  /** @param bytes how many more are held; if negative, less */
  count(bytes: number): void;
}

/** On the client nothing reads the bytes that sessions hold. */
export const UNCOUNTED: ByteCount = { isOver: false, count() {} };

/** A count of the other side that violates the rules: below what it acknowledged, or above what was sent. */
export type Violation = "gap" | "above";

/**
 * An acknowledgement is due when this many bytes were taken, also if that is less than half a window. It costs little beside
 * them, and the other side uses their memory again while it is in the processor's cache.
 */
const ACKNOWLEDGE_BYTES = 64 * 1024;

/** The approximate cost of a kept message beside its bytes. */
const ENTRY_BYTES = 16;

/**
 * The window of one side of a session, in both directions: the messages that it
 * has sent and keeps until they are acknowledged, and the counts of those that
 * it has received, handed to the application and acknowledged. It uses neither
 * streams nor timers.
 */
export class SessionWindow {
  readonly #own: Window;
  #window: Window;
  #account: ByteCount;
  /** The messages that were sent and are not acknowledged, for the stream of the session to write. */
  readonly kept = new Spool();
  #acknowledged = 0;
  #ended = false;
  #received = 0;
  #heldBytes = 0;
  #inflatingBytes = 0;
  #taken = 0;
  #ackSent = 0;
  #ackPendingBytes = 0;
  #closed = false;

  /** @param start the count that both directions begin with: for tests of their end */
  constructor(window: Window, account: ByteCount, start = 0) {
    this.#own = this.#window = window;
    this.#account = account;
    this.#acknowledged = this.#received = this.#taken = this.#ackSent = start;
  }

  // The messages that this side sends.

  /** The number of messages that were sent. */
  get sent(): number {
    return this.#acknowledged + this.kept.messages;
  }

  /** The number of sent messages that the other side has acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Whether no more may be sent before an acknowledgement, of this session or of others that share its account. */
  get full(): boolean {
    return this.isFullItself || this.#account.isOver;
  }

  /** Whether no more may be sent before an acknowledgement of this session. */
  get isFullItself(): boolean {
    return this.kept.bytes >= this.#window.bytes || this.kept.messages >= this.#window.messages;
  }

  /** Whether this side has half-closed. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Keeps a message that is sent. Returns whether the window is full now. */
  push(flags: number, payload: Uint8Array, shared?: SharedFrame): boolean {
    if (this.#closed) return false;
    checkCount(this.sent);
    const before = this.kept.ownBytes;
    this.kept.push(flags, payload, shared);
    this.#account.count(this.kept.ownBytes - before + ENTRY_BYTES);
    return this.full;
  }

  /** Notes that this side half-closes. */
  end(): void {
    this.#ended = true;
  }

  /**
   * Drops the first `count` messages, which the other side acknowledged. Ignores a count below the previous one.
   *
   * @param waitingBytes how many bytes of the stream, at most, wait to be sent
   */
  acknowledge(count: number, waitingBytes?: number): Violation | undefined {
    if (count > this.sent) return "above";
    const news = count - this.#acknowledged;
    if (news <= 0) return undefined;
    const before = this.kept.ownBytes;
    this.kept.drop(news, waitingBytes);
    this.#account.count(this.kept.ownBytes - before - news * ENTRY_BYTES);
    this.#acknowledged = count;
    return undefined;
  }

  /** Checks the number of messages that the other side has received; returns the violation, if it is one. */
  checkResume(received: number): Violation | undefined {
    if (received > this.sent) return "above";
    return received < this.#acknowledged ? "gap" : undefined;
  }

  /** Makes `kept` return everything after the first `received` messages again. */
  rewind(received: number): void {
    this.kept.rewind(received - this.#acknowledged);
  }

  // The messages that this side receives.

  get received(): number {
    return this.#received;
  }

  /** The number of messages that the application has taken. */
  get delivered(): number {
    return this.#taken;
  }

  /** Counts a received message. Returns `false` if the other side exceeds the window. */
  receive(bytes: number): boolean {
    if (this.#closed) return true;
    checkCount(this.#received);
    // A message that begins within the window may exceed its bytes.
    if (
      this.#received - this.#ackSent >= this.#window.messages ||
      this.#heldBytes + this.#ackPendingBytes >= this.#window.bytes
    ) {
      return false;
    }
    this.#received++;
    this.#heldBytes += bytes;
    this.#account.count(bytes + ENTRY_BYTES);
    return true;
  }

  /**
   * Counts a message that the application took. Returns true once half a window, or ACKNOWLEDGE_BYTES, was taken:
   * an acknowledgement is then due.
   */
  take(bytes: number): boolean {
    if (this.#closed) return false;
    this.#taken++;
    this.#heldBytes -= bytes;
    this.#ackPendingBytes += bytes;
    this.#account.count(-(bytes + ENTRY_BYTES));
    return (
      (this.#taken - this.#ackSent) * 2 >= this.#window.messages ||
      this.#ackPendingBytes >= Math.min(this.#window.bytes / 2, ACKNOWLEDGE_BYTES)
    );
  }

  /** Counts bytes of a message that was taken, and waits to be decompressed; if negative, no longer. */
  hold(bytes: number): void {
    this.#inflatingBytes += bytes;
    if (!this.#closed) this.#account.count(bytes);
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

  /** Sets the window of the other side; the smaller of the two counts. */
  setPeerWindow(theirs: Window): void {
    this.#window = smaller(this.#own, theirs);
  }

  get window(): Window {
    return this.#window;
  }

  /** Counts all received messages as taken: the application takes no more. */
  takeAll(): void {
    this.#account.count(-(this.#heldBytes + (this.#received - this.#taken) * ENTRY_BYTES));
    this.#ackPendingBytes += this.#heldBytes;
    this.#heldBytes = 0;
    this.#taken = this.#received;
  }

  /** Has another account count the bytes that this session holds, and will hold. */
  countFor(account: ByteCount): void {
    const bytes = this.countedBytes;
    this.#account.count(-bytes);
    account.count(bytes);
    this.#account = account;
  }

  /** What the account counts for this session. Memory that many sessions share is counted for none of them. */
  get countedBytes(): number {
    if (this.#closed) return 0;
    const messages = this.kept.messages + this.#received - this.#taken;
    return this.kept.ownBytes + this.#heldBytes + this.#inflatingBytes + messages * ENTRY_BYTES;
  }

  /** Drops all messages. Nothing is kept or counted any more. */
  close(): void {
    if (this.#closed) return;
    this.takeAll();
    const keptBytes = this.kept.ownBytes + this.kept.messages * ENTRY_BYTES;
    this.#account.count(-(keptBytes + this.#inflatingBytes));
    this.#closed = true;
    this.kept.clear();
  }
}

/** Past 2^53 - 1 a count would no longer be exact (session.proto, 9). */
function checkCount(count: number): void {
  if (count < Number.MAX_SAFE_INTEGER) return;
  throw failure(Code.OutOfRange, "a session cannot count more than 2^53 - 1 messages");
}
