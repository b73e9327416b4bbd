import { Code, type ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { failure } from "../failure.ts";
import { headerListBytes, responseHeadersLimit } from "./header-limits.ts";
import { addMetadata } from "./metadata.ts";

const LATE = "when no request had come for 50 ms";

/** When the response headers of a call were sent, as the end of an error: "the headers left …". */
export type HeadersLeft =
  | "at sendHeaders()"
  | "with the first response"
  | "when the handler waited for its second request"
  | typeof LATE
  | "at the end of the call";

/**
 * The response headers that a handler sets. After they were sent, set(),
 * append() and delete() throw FAILED_PRECONDITION.
 */
export class ResponseHeaders extends Headers {
  #left: HeadersLeft | undefined;

  /** @param left when the headers were sent; `undefined` if they were not */
  constructor(left: HeadersLeft | undefined) {
    super();
    this.#left = left;
  }

  /** Notes that the headers are sent now; only the first call counts. */
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

/**
 * Adds the response headers of a handler to those of every response. Returns an error if they are not valid, or too large.
 *
 * @param announced the client's SETTINGS_MAX_HEADER_LIST_SIZE
 */
export function addHandlerHeaders(
  headers: HeaderList,
  metadata: Headers,
  announced: number,
): ConnectError | undefined {
  const wrong = addMetadata(headers, metadata);
  if (wrong !== undefined) {
    const what = `the handler's response headers cannot be sent: ${wrong}`;
    return failure(Code.Internal, what);
  }
  const bytes = headerListBytes(headers);
  const limitBytes = responseHeadersLimit(announced);
  if (bytes <= limitBytes) return undefined;
  return failure(
    Code.ResourceExhausted,
    `the response headers are ${bytes} B (32 B are counted for each), over the ${limitBytes} B that this client can be sent: set fewer, or send it in a message`,
  );
}
