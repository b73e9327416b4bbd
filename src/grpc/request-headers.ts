import type { HeaderList } from "../call-stream.ts";
import { checkRequestHeaders } from "./header-limits.ts";
import { addMetadata, hasMetadata, notAllowed } from "./metadata.ts";
import { type Deadline, formatTimeout } from "./timeout.ts";

/** The request headers of one stream. */
export interface RequestHead {
  readonly fields: HeaderList;
  /**
   * Whether the application set some of them. Only then is the size checked: the headers of Hawser itself always fit.
   */
  readonly hasMetadata: boolean;
  /** The bytes that the headers of later streams of the same call may need in addition. */
  readonly reserveBytes: number;
}

/** Makes the request headers of the streams of a call. */
export interface StreamHeaders {
  /**
   * Runs the functions of the options `headers`, unless no stream has used their newest values. Returns a promise if
   * make() must wait for it; if that rejects, the attempt has failed. Returns `undefined` if make() can be called now.
   */
  renew(): Promise<void> | undefined;
  /** Makes the request headers of a stream that is opened now. */
  make(): RequestHead;
}

export interface RequestHeadersInit {
  /** Makes the headers of gRPC and HTTP/2. */
  readonly own: (metadata: Headers | undefined) => HeaderList;
  /** The metadata of the first stream. */
  readonly metadata: Headers | undefined;
  /** Whether no stream has used `metadata`. */
  readonly isFresh: boolean;
  /** Runs the functions of the options `headers` for another stream; `undefined` if there are none. */
  readonly again: (() => Promise<Headers>) | undefined;
  readonly deadline: Deadline | undefined;
}

/** The request headers of a call, made anew for each of its streams. */
export class RequestHeaders implements StreamHeaders {
  /** Set if there are functions. */
  readonly #renewable: RequestHeadersInit | undefined;
  readonly #deadline: Deadline | undefined;
  #fields!: HeaderList;
  #hasMetadata = false;
  #isFresh: boolean;
  #renewal: Promise<void> | undefined;

  /**
   * Throws INVALID_ARGUMENT if gRPC does not allow the metadata, and
   * RESOURCE_EXHAUSTED if it is larger than this side sends.
   */
  constructor(init: RequestHeadersInit) {
    this.#renewable = init.again === undefined ? undefined : init;
    this.#deadline = init.deadline;
    this.#isFresh = init.isFresh;
    this.#compose(init, init.metadata);
  }

  /** Also rejects with what the constructor throws. */
  renew(): Promise<void> | undefined {
    const init = this.#renewable;
    if (this.#isFresh || init === undefined) return undefined;
    this.#renewal ??= init
      .again?.()
      .then((metadata) => {
        this.#compose(init, metadata);
        this.#isFresh = true;
      })
      .finally(() => {
        this.#renewal = undefined;
      });
    return this.#renewal;
  }

  #compose({ own }: RequestHeadersInit, metadata: Headers | undefined): void {
    const fields = own(metadata);
    if (hasMetadata(metadata)) {
      const wrong = addMetadata(fields, metadata);
      if (wrong !== undefined) throw notAllowed(wrong);
      checkRequestHeaders(fields);
    }
    this.#fields = fields;
    this.#hasMetadata = hasMetadata(metadata);
  }

  /**
   * Makes the headers, with the rest of the deadline.
   *
   * @param more headers of a session
   */
  make(more?: Record<string, string>, reserveBytes = 0): RequestHead {
    this.#isFresh = false;
    const fields = { ...this.#fields, ...more };
    if (this.#deadline !== undefined) {
      const leftMs = Math.max(this.#deadline.endsAt - performance.now(), 0.001);
      fields["grpc-timeout"] = formatTimeout(leftMs);
    }
    return { fields, hasMetadata: this.#hasMetadata, reserveBytes };
  }
}
