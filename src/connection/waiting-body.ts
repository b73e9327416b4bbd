import type { ConnectError } from "@connectrpc/connect";
import { runtime } from "../flow/runtime.ts";
import { ENHANCE_YOUR_CALM } from "../http2/frames.ts";
import type { FieldList } from "../http2/hpack/field-list.ts";
import type { Http2Stream } from "../http2/types.ts";
import type { ConnectionMemory } from "./connection-memory.ts";
import type { BudgetedStream } from "./receive-budget.ts";

/** Data, trailers, or the end of a request. */
export type BodyPart = Uint8Array | FieldList | "end";

/** What arrives of a request that nothing serves yet: at most a window. The budgets of its connection count it. */
export class WaitingBody implements BudgetedStream {
  readonly #stream: Http2Stream;
  readonly #memory: ConnectionMemory;
  readonly #parts: BodyPart[] = [];
  heldBytes = 0;
  readonly partialBytes = 0;
  readonly waitingBytes = 0;
  readonly countedWaitingBytes = 0;
  readonly hasCredit = true;
  readonly progress = 0;
  rosterIndex = -1;

  constructor(stream: Http2Stream, memory: ConnectionMemory) {
    this.#stream = stream;
    this.#memory = memory;
    memory.add(this);
  }

  get untaken(): number {
    return this.#parts.length;
  }

  /** Adds a part; `bytes` are copied. */
  putData(bytes: Uint8Array): void {
    const chunk = runtime.allocate(bytes.length);
    chunk.set(bytes);
    this.#parts.push(chunk);
    this.heldBytes += chunk.length;
    this.#memory.count(chunk.length, 0);
  }

  put(part: FieldList | "end"): void {
    this.#parts.push(part);
  }

  /** Returns all parts, and counts them no longer. */
  take(): readonly BodyPart[] {
    const { heldBytes } = this;
    this.heldBytes = 0;
    this.#memory.count(-heldBytes, 0);
    this.#memory.remove(this);
    return this.#parts.splice(0);
  }

  // BudgetedStream: called by the budgets.

  recount(): void {}

  shrinkWindow(): void {}

  shrinkIdleWindow(): void {}

  settle(): void {}

  endOverBudget(_error: ConnectError): void {
    this.#stream.reset(ENHANCE_YOUR_CALM);
  }
}
