import type { HeaderList } from "../call-stream.ts";
import { checkRequestHeaders } from "./header-limits.ts";
import { addMetadata, hasMetadata, notAllowed } from "./metadata.ts";
import { type Deadline, formatTimeout } from "./timeout.ts";

/** The request headers of one stream. */
export interface RequestHead {
  readonly fields: HeaderList;
  /** Whether the application set some of them. Only then are they counted: those of ours always fit. */
  readonly hasMetadata: boolean;
  /** What later streams of the same call may need beyond these. */
  readonly reserveBytes: number;
}

/** Makes the request headers of the streams of a call. */
export interface StreamHeaders {
  /**
   * Has the functions among the options `headers` run, where a stream has had what they said last. A promise: make()
   * has to wait for it; where it rejects, the attempt has failed. `undefined`: it need not.
   */
  renew(): Promise<void> | undefined;
  /** The request headers of a stream that is opened now. */
  make(): RequestHead;
}

export interface RequestHeadersInit {
  /** Makes the headers that are not the application's. */
  readonly own: (metadata: Headers | undefined) => HeaderList;
  /** The metadata of the first stream. */
  readonly metadata: Headers | undefined;
  /** Whether no stream has had it. */
  readonly isFresh: boolean;
  /** Has the functions say the metadata of another stream, where there are any. */
  readonly again: (() => Promise<Headers>) | undefined;
  readonly deadline: Deadline | undefined;
}

/** The request headers of a call, made anew for each of its streams. */
export class RequestHeaders implements StreamHeaders {
  /** Where there are functions. */
  readonly #renewable: RequestHeadersInit | undefined;
  readonly #deadline: Deadline | undefined;
  #fields!: HeaderList;
  #hasMetadata = false;
  #isFresh: boolean;
  #renewal: Promise<void> | undefined;

  /**
   * Throws INVALID_ARGUMENT where gRPC does not allow the metadata, and
   * RESOURCE_EXHAUSTED where it is more than this side sends.
   */
  constructor(init: RequestHeadersInit) {
    this.#renewable = init.again === undefined ? undefined : init;
    this.#deadline = init.deadline;
    this.#isFresh = init.isFresh;
    this.#compose(init, init.metadata);
  }

  /** Rejects as the constructor throws, too. */
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
   * With what is left of the deadline.
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
