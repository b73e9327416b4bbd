import type { OutgoingHttpHeaders } from "node:http2";
import { checkRequestHeaders } from "./header-limits.ts";
import { addMetadata, hasMetadata, notAllowed } from "./metadata.ts";
import { type Deadline, formatTimeout } from "./timeout.ts";

/** The request headers of one stream. */
export interface RequestHead {
  readonly fields: OutgoingHttpHeaders;
  /** Whether the application set some of them. Only then are they counted: those of ours always fit. */
  readonly hasMetadata: boolean;
  /** What later streams of the same call may need beyond these. */
  readonly reserveBytes: number;
}

/** The request headers of a call, made anew for each of its streams. */
export class RequestHeaders {
  readonly #fields: OutgoingHttpHeaders;
  readonly #deadline: Deadline | undefined;
  readonly #hasMetadata: boolean;

  /**
   * Throws INVALID_ARGUMENT where gRPC does not allow the metadata, and
   * RESOURCE_EXHAUSTED where it is more than this side sends.
   *
   * @param own the headers that are not the application's; they become part of this
   */
  constructor(
    own: OutgoingHttpHeaders,
    metadata: Headers | undefined,
    deadline: Deadline | undefined,
  ) {
    this.#fields = own;
    this.#deadline = deadline;
    this.#hasMetadata = hasMetadata(metadata);
    if (!hasMetadata(metadata)) return;
    const wrong = addMetadata(own, metadata);
    if (wrong !== undefined) throw notAllowed(wrong);
    checkRequestHeaders(own);
  }

  /**
   * With what is left of the deadline.
   *
   * @param more headers of a session
   */
  make(more?: Record<string, string>, reserveBytes = 0): RequestHead {
    const fields = { ...this.#fields, ...more };
    if (this.#deadline !== undefined) {
      const leftMs = Math.max(this.#deadline.endsAt - performance.now(), 0.001);
      fields["grpc-timeout"] = formatTimeout(leftMs);
    }
    return { fields, hasMetadata: this.#hasMetadata, reserveBytes };
  }
}
