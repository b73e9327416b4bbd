/** What a page counts of its messages, to show that none is lost and none comes twice. Pure: it knows no calls, and no page. */

export interface Counts {
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
  readonly repeated: number;
}

/** The sums of several counts. */
export function sumOf(all: Iterable<Counts>): Counts {
  const sum = { sent: 0, received: 0, lost: 0, repeated: 0 };
  for (const { sent, received, lost, repeated } of all) {
    sum.sent += sent;
    sum.received += received;
    sum.lost += lost;
    sum.repeated += repeated;
  }
  return sum;
}

/** Counts a chat whose requests have numbers, from 1. Each reply must have the number after that of the reply before. */
export class ChatTally implements Counts {
  sent = 0;
  received = 0;
  lost = 0;
  repeated = 0;
  #newest = 0;

  /** A request is sent. Returns its number. */
  send(): number {
    return ++this.sent;
  }

  /** A reply has come. A number that is left out is lost. */
  receive(number: number): void {
    this.received++;
    if (number <= this.#newest) {
      this.repeated++;
      return;
    }
    this.lost += number - this.#newest - 1;
    this.#newest = number;
  }
}

/**
 * Counts the messages of a room by their cursors. A cursor that comes again is a repeated message. Cursors have no order that
 * a client could know, so that a lost message is found by reading the room a second time: see check().
 */
export class RoomTally implements Counts {
  sent = 0;
  received = 0;
  lost = 0;
  repeated = 0;
  readonly #cursors = new Set<string>();
  #newest = "";
  #checked = "";

  /** The cursor of the newest message. */
  get newest(): string {
    return this.#newest;
  }

  /** The messages up to this cursor were checked. Empty: none were. */
  get checked(): string {
    return this.#checked;
  }

  send(): void {
    this.sent++;
  }

  /** A message has come. Returns whether it is the first with its cursor. */
  receive(cursor: string): boolean {
    this.received++;
    if (this.#cursors.has(cursor)) {
      this.repeated++;
      return false;
    }
    this.#cursors.add(cursor);
    this.#newest = cursor;
    return true;
  }

  /**
   * The room has this message, as the second reading says, which begins after `checked` and ends with `newest`. It is lost if
   * it has not come before.
   */
  check(cursor: string): void {
    this.#checked = cursor;
    if (this.#cursors.has(cursor)) return;
    this.#cursors.add(cursor);
    this.lost++;
  }
}
