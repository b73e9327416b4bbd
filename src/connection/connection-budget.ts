import type { Clock } from "../flow/clock.ts";
import { CONNECTION_FACTOR, ReceiveBudget } from "./receive-budget.ts";

export interface ConnectionBudgetInit {
  /** `connectionBudgetBytes` */
  readonly bytes: number;
  readonly clock: Clock;
  /** Called when a request is refused, or a call ended: with the name of the option. */
  readonly onRefused: (limit: string) => void;
}

/** Makes the budget of the streams of one client's connection. */
export function connectionBudget({ bytes, clock, onRefused }: ConnectionBudgetInit): ReceiveBudget {
  const name = "connectionBudgetBytes";
  return new ReceiveBudget(
    {
      ...{ bytes, of: "the client's connection", limit: `${name} ${bytes} B` },
      factor: CONNECTION_FACTOR,
      onRefused: () => onRefused(name),
    },
    clock,
  );
}
