import type { Clock } from "../flow/clock.ts";
import { Roster } from "../flow/roster.ts";
import type { BudgetedStream, ReceiveBudget } from "./receive-budget.ts";
import { type MeasuredWindow, RoundTrips } from "./round-trips.ts";

/** The memory that the streams of one connection hold, of one caller at a server: what each of its budgets counts. */
export class ConnectionMemory {
  readonly streams = new Roster<BudgetedStream>();
  readonly #budgets: readonly ReceiveBudget[];
  readonly #clock: Clock;
  #roundTrips: RoundTrips | undefined;
  /** The incomplete messages in the order in which they began, with the time; undefined until there is one. */
  #incomplete: Map<BudgetedStream, number> | undefined;

  /** @param budgets those of the connection, of the caller, and of the server or transport */
  constructor(budgets: readonly ReceiveBudget[], clock: Clock) {
    this.#budgets = budgets;
    this.#clock = clock;
    for (const budget of budgets) budget.add(this);
  }

  /** Whether a new stream is admitted. If not, it is to be refused (REFUSED_STREAM). */
  get admits(): boolean {
    for (const budget of this.#budgets) if (!budget.admits) return false;
    return true;
  }

  /** Called when a stream was refused because of `admits`. */
  onRefused(): void {
    for (const budget of this.#budgets) if (!budget.admits) budget.onRefused();
  }

  /** Whether windows may grow. */
  get mayGrow(): boolean {
    return this.#budgets.every(({ mayGrow }) => mayGrow);
  }

  get roundTrips(): RoundTrips {
    this.#roundTrips ??= new RoundTrips(this.#clock);
    return this.#roundTrips;
  }

  /** The window is closed. */
  stopMeasuring(window: MeasuredWindow): void {
    this.#roundTrips?.remove(window);
  }

  /** Lets a window become larger by `bytes`, or by as much as the budgets allow. Returns by how much. */
  takeCapacity(bytes: number): number {
    let takenBytes = bytes;
    for (const budget of this.#budgets) takenBytes = budget.capacityFor(takenBytes);
    for (const budget of this.#budgets) budget.countCapacity(takenBytes);
    return takenBytes;
  }

  giveCapacityBack(bytes: number): void {
    for (const budget of this.#budgets) budget.countCapacity(-bytes);
  }

  get oldestIncomplete():
    | { readonly stream: BudgetedStream; readonly sinceMs: number }
    | undefined {
    for (const [stream, sinceMs] of this.#incomplete ?? []) return { stream, sinceMs };
    return undefined;
  }

  add(stream: BudgetedStream): void {
    this.streams.add(stream);
  }

  /** Removes a stream, which holds nothing any more. */
  remove(stream: BudgetedStream): void {
    this.streams.delete(stream);
    for (const budget of this.#budgets) budget.forget(stream);
  }

  /**
   * Counts bytes that a stream holds now, or, if negative, holds no more.
   *
   * @param waiting the part of `bytes` that waits to be sent
   */
  count(bytes: number, waiting: number): void {
    for (const budget of this.#budgets) budget.count(bytes, waiting);
  }

  /** Called when an incomplete message has begun. */
  onIncomplete(stream: BudgetedStream): void {
    this.#incomplete ??= new Map();
    this.#incomplete.set(stream, this.#clock.now());
  }

  /** Called when the incomplete message is whole, or the stream is closed. */
  onComplete(stream: BudgetedStream): void {
    this.#incomplete?.delete(stream);
    for (const budget of this.#budgets) budget.onComplete(stream);
  }

  /** Whether an incomplete message is given credit until it is whole. */
  mayComplete(stream: BudgetedStream): boolean {
    return this.#budgets.every((budget) => budget.mayComplete(stream));
  }

  /** Called when there are no streams any more: no budget looks here any more. */
  close(): void {
    for (const budget of this.#budgets) budget.remove(this);
  }
}
