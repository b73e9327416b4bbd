import { Code, type ConnectError } from "@connectrpc/connect";
import { knownCode } from "../failure.ts";
import type { MessageCount } from "./events.ts";
import type { CallStats } from "./stats.ts";

/** Counts the messages of one direction of a call. */
export class MessageCounter {
  #messages = 0;
  #bytes = 0;

  add(bytes: number): void {
    this.#messages++;
    this.#bytes += bytes;
  }

  /** Counts a message whose bytes are not known: then those of the others are of no use. */
  addUnknown(): void {
    this.add(Number.NaN);
  }

  get count(): MessageCount {
    const bytes = Number.isNaN(this.#bytes) ? undefined : this.#bytes;
    return { messages: this.#messages, bytes };
  }
}

/** Counts calls, and how they end. */
export class CallCounter {
  #started = 0;
  #succeeded = 0;
  /** By code. */
  readonly #failed: number[] = new Array(Code.Unauthenticated + 1).fill(0);

  onStarted(): void {
    this.#started++;
  }

  onEnded(error: ConnectError | undefined): void {
    if (error === undefined) {
      this.#succeeded++;
      return;
    }
    const code = knownCode(error.code);
    this.#failed[code] = (this.#failed[code] as number) + 1;
  }

  get stats(): Omit<CallStats, "open"> & { readonly ended: number } {
    const failed = this.#failed
      .map((count, code) => [nameOf(code), count] as const)
      .filter(([, count]) => count > 0);
    return {
      started: this.#started,
      ended: failed.reduce((sum, [, count]) => sum + count, this.#succeeded),
      succeeded: this.#succeeded,
      failed: Object.fromEntries(failed),
    };
  }
}

/** The name of a code in gRPC: "DEADLINE_EXCEEDED". */
function nameOf(code: Code): string {
  return (Code[code] ?? "").replace(/(?<!^)[A-Z]/g, "_$&").toUpperCase();
}
