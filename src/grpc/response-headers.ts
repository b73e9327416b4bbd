import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";

const LATE = "when no request had come for 50 ms";

/** When the response headers of a call left, as the end of a sentence: "the headers left …". */
export type HeadersLeft =
  | "at sendHeaders()"
  | "with the first response"
  | "when the handler waited for its second request"
  | typeof LATE
  | "at the end of the call";

/**
 * The response headers that a handler sets. Once they have left, a change
 * would not be sent: set(), append() and delete() throw FAILED_PRECONDITION.
 */
export class ResponseHeaders extends Headers {
  #left: HeadersLeft | undefined;

  /** @param left when they left, where they have */
  constructor(left: HeadersLeft | undefined) {
    super();
    this.#left = left;
  }

  /** They leave now; the first call counts. */
  close(left: HeadersLeft): void {
    this.#left ??= left;
  }

  override set(name: string, value: string): void {
    this.#checkOpen(name);
    super.set(name, value);
  }

  override append(name: string, value: string): void {
    this.#checkOpen(name);
    super.append(name, value);
  }

  override delete(name: string): void {
    this.#checkOpen(name);
    super.delete(name);
  }

  #checkOpen(name: string): void {
    if (this.#left === undefined) return;
    const hold = this.#left === LATE ? "have them wait for it (holdHeaders), " : "";
    throw failure(
      Code.FailedPrecondition,
      `the response header "${name}" changes too late: the headers left ${this.#left}; ` +
        `change it before, ${hold}or set a trailer (responseTrailer)`,
    );
  }
}
