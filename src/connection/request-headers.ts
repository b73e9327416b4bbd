import type { HeaderList } from "../call-stream.ts";
import { checkRequestBytes } from "../grpc/header-limits.ts";
import { addMetadata, hasMetadata, notAllowed } from "../grpc/metadata.ts";
import { type Deadline, formatTimeout } from "../grpc/timeout.ts";
import { FixedFields, listBytesOf, type SentFields } from "../http2/fixed-fields.ts";
import type { FieldList } from "../http2/hpack/field-list.ts";
import { toFields, toHeaderList } from "./fields.ts";

const NONE: FieldList = [];

/** The request headers of a method, with some metadata. */
export class RequestFields {
  /**
   * Whether the application set some of them. Only then is the size checked: the headers of Hawser itself always fit.
   */
  readonly hasMetadata: boolean;
  readonly #isReused: boolean;
  #list: FieldList;
  #bytes: number;
  /** The list, if many calls send it: HTTP/2 allows it. */
  #fixed: FixedFields | undefined;

  /**
   * Throws INVALID_ARGUMENT if gRPC does not allow the metadata, and RESOURCE_EXHAUSTED if it is larger than this side
   * sends.
   *
   * @param own the headers of gRPC and HTTP/2, `:authority` among them
   * @param isReused whether many calls send them: they are then checked, and encoded on each connection, once
   */
  constructor(own: HeaderList, metadata: Headers | undefined, isReused = false) {
    this.#isReused = isReused;
    this.hasMetadata = hasMetadata(metadata);
    const wrong = hasMetadata(metadata) ? addMetadata(own, metadata) : undefined;
    if (wrong !== undefined) throw notAllowed(wrong);
    this.#list = toFields(own);
    this.#bytes = listBytesOf(this.#list);
    if (this.hasMetadata) checkRequestBytes(this.#bytes);
  }

  get count(): number {
    return this.#list.length / 2;
  }

  /** By name, pseudo-headers aside. */
  get headers(): HeaderList {
    const named = Object.entries(toHeaderList(this.#list));
    return Object.fromEntries(named.filter(([name]) => !name.startsWith(":")));
  }

  /** The size, as HPACK counts it. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Returns the fields for an authority, with those of one stream. Throws an InvalidFieldsError if HTTP/2 does not allow
   * fields that are reused.
   */
  to(authority: string, more: FieldList): SentFields {
    const at = this.#list.indexOf(":authority") + 1;
    if (this.#list[at] !== authority) {
      // Not the same array: streams that wait have the one before.
      this.#list = this.#list.with(at, authority);
      this.#bytes = listBytesOf(this.#list);
      this.#fixed = undefined;
    }
    if (!this.#isReused) return more.length === 0 ? this.#list : [...this.#list, ...more];
    this.#fixed ??= FixedFields.ofRequest(this.#list);
    return more.length === 0 ? this.#fixed : { fixed: this.#fixed, more };
  }
}

/** The request headers of one stream. */
export interface RequestHead {
  readonly fields: RequestFields;
  /** The headers of this stream alone: the rest of the deadline, and those of a session. */
  readonly more: FieldList;
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
  /** For the first stream. */
  readonly fields: RequestFields;
  readonly deadline: Deadline | undefined;
  /** Undefined if the options `headers` have no functions: then all streams have the same. */
  readonly renewal?: Renewal | undefined;
}

/** How the headers of further streams are made. */
export interface Renewal {
  /** Whether no stream has used the fields of the first one. */
  readonly isFresh: boolean;
  /** Runs the functions of the options `headers` for another stream. Also rejects with what RequestFields throws. */
  readonly again: () => Promise<RequestFields>;
}

/** The request headers of a call, for each of its streams. */
export class RequestHeaders implements StreamHeaders {
  readonly #deadline: Deadline | undefined;
  readonly #renewal: Renewal | undefined;
  #fields: RequestFields;
  #isFresh: boolean;
  #renewing: Promise<void> | undefined;

  constructor({ fields, deadline, renewal }: RequestHeadersInit) {
    this.#fields = fields;
    this.#deadline = deadline;
    this.#renewal = renewal;
    this.#isFresh = renewal?.isFresh ?? true;
  }

  renew(): Promise<void> | undefined {
    if (this.#isFresh || this.#renewal === undefined) return undefined;
    this.#renewing ??= this.#renewal
      .again()
      .then((fields) => {
        this.#fields = fields;
        this.#isFresh = true;
      })
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }

  /** Returns the newest headers, pseudo-headers aside; `undefined` if they are always the same. */
  fresh(): Promise<HeaderList> | undefined {
    if (this.#renewal === undefined) return undefined;
    return (this.renew() ?? Promise.resolve()).then(() => {
      this.#isFresh = false;
      return this.#fields.headers;
    });
  }

  /**
   * Makes the headers, with the rest of the deadline.
   *
   * @param session headers of a session
   */
  make(session?: Record<string, string>, reserveBytes = 0): RequestHead {
    this.#isFresh = false;
    return { fields: this.#fields, more: this.#more(session), reserveBytes };
  }

  #more(session: Record<string, string> | undefined): FieldList {
    if (this.#deadline === undefined) return session === undefined ? NONE : toFields(session);
    const leftMs = Math.max(this.#deadline.endsAt - performance.now(), 0.001);
    const timeout = ["grpc-timeout", formatTimeout(leftMs)];
    return session === undefined ? timeout : [...toFields(session), ...timeout];
  }
}
