import type { Caller } from "../caller.ts";
import type { Clock } from "../flow/clock.ts";
import type { CallerParty, Party } from "../sharing/parties.ts";
import { shareOf } from "../sharing/shared-limit.ts";
import { ConnectionMemory } from "./connection-memory.ts";
import { ReceiveBudget, TOTAL_FACTOR, UNTAKEN_FACTOR } from "./receive-budget.ts";
import { FIRST_WINDOW_BYTES } from "./receive-window.ts";

/** What a ServerMemory uses. */
export interface ServerMemoryInit {
  readonly clock: Clock;
  /** Called when a request is refused, or a call ended: by the share of a caller, or by the budget of all. */
  readonly onRefused?: (caller: Caller | undefined) => void;
}

/**
 * The memory that the streams of a server hold: a budget of all, of which each caller has a share, by the rule of SharedLimit.
 * Above half of its share a caller gets no more than it needs; above the share its calls are refused, and its largest ones
 * end. So one caller alone never brings the server above its budget.
 */
export class ServerMemory {
  readonly #bytes: number;
  readonly #clock: Clock;
  readonly #onRefused: ((caller: Caller | undefined) => void) | undefined;
  readonly #total: ReceiveBudget;
  readonly #ofCallers = new WeakMap<CallerParty, ReceiveBudget>();
  readonly #ofParties = new WeakMap<Party, ConnectionMemory>();

  /** @param bytes `serverBudgetBytes` */
  constructor(bytes: number, { clock, onRefused }: ServerMemoryInit) {
    this.#bytes = bytes;
    this.#clock = clock;
    this.#onRefused = onRefused;
    this.#total = new ReceiveBudget(
      {
        ...{ bytes, of: "the server", limit: `serverBudgetBytes ${bytes} B`, factor: TOTAL_FACTOR },
        onRefused: () => onRefused?.(undefined),
      },
      clock,
    );
  }

  /** What all streams hold. */
  get usedBytes(): number {
    return this.#total.usedBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Returns the memory of a caller's streams on one connection. */
  of(party: Party, ofConnection: ReceiveBudget): ConnectionMemory {
    let memory = this.#ofParties.get(party);
    if (memory === undefined) {
      const budgets = [ofConnection, this.#budgetOf(party.caller), this.#total];
      memory = new ConnectionMemory(budgets, this.#clock);
      this.#ofParties.set(party, memory);
    }
    return memory;
  }

  /** Called when the party has no streams any more, and gets none. */
  forget(party: Party): void {
    this.#ofParties.get(party)?.close();
    // A session may retain the party for long, and nothing of the connection with it.
    this.#ofParties.delete(party);
  }

  #budgetOf(caller: CallerParty): ReceiveBudget {
    let budget = this.#ofCallers.get(caller);
    if (budget === undefined) {
      budget = this.#makeBudget(caller);
      this.#ofCallers.set(caller, budget);
    }
    return budget;
  }

  #makeBudget({ who }: CallerParty): ReceiveBudget {
    const total = this.#total;
    const totalBytes = this.#bytes;
    // Streams are ended above UNTAKEN_FACTOR times the budget: that is the share. Each caller has at least a window.
    const share = () => shareOf(budget.usedBytes, totalBytes - total.usedBytes);
    const budget: ReceiveBudget = new ReceiveBudget(
      {
        leastBytes: FIRST_WINDOW_BYTES,
        get bytes() {
          return Math.max(share() / UNTAKEN_FACTOR, FIRST_WINDOW_BYTES);
        },
        of: "the caller",
        get limit() {
          return `its share of serverBudgetBytes ${totalBytes} B, now ${share()} B`;
        },
        factor: UNTAKEN_FACTOR,
        onRefused: () => this.#onRefused?.(who),
      },
      this.#clock,
    );
    return budget;
  }
}
