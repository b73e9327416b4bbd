import type { DescMethod } from "@bufbuild/protobuf";
import { ENCODING } from "../codec/compression.ts";
import type { Target } from "../connection/address.ts";
import { RequestFields, type RequestHead, RequestHeaders } from "../connection/request-headers.ts";
import { version } from "../version.ts";

const USER_AGENT = `hawser/${version}`;

export interface MethodHeadersInit {
  readonly target: Target;
  /** Whether the server may compress its responses. */
  readonly acceptsGzip: boolean;
  /** Whether requests are compressed unless a call says otherwise. */
  readonly gzip: boolean;
  /** The metadata of calls that set none; undefined also if it changes from call to call. It must not be changed. */
  readonly metadata: Headers | undefined;
}

/** The parts of a call by which its headers differ from those of others of its method. */
export interface CallHeadersInit {
  readonly metadata: Headers | undefined;
  readonly gzip: boolean;
  readonly previousAttempts: number;
}

/**
 * Makes the request headers of the methods of one transport. Those of usual calls are made once for each method, but not for the
 * first call: a transport with one long call keeps none.
 */
export class MethodHeaders {
  readonly #init: MethodHeadersInit;
  /** The method of the previous usual call, and its headers. Most transports have one method that is used most. */
  #method: DescMethod | undefined;
  #hasCalled = false;
  #fields!: RequestFields;
  /** The headers of all methods; undefined until there are two. */
  #all: WeakMap<DescMethod, RequestFields> | undefined;

  constructor(init: MethodHeadersInit) {
    this.#init = init;
  }

  /** Throws what RequestFields throws. */
  ofCall(method: DescMethod, init: CallHeadersInit): RequestFields {
    const { metadata, gzip, previousAttempts } = init;
    const isUsual =
      metadata === this.#init.metadata && gzip === this.#init.gzip && previousAttempts === 0;
    if (!isUsual || !this.#hasCalled) {
      this.#hasCalled = true;
      return this.#make(method, init, false);
    }
    if (method === this.#method) return this.#fields;
    const fields = this.#all?.get(method) ?? this.#make(method, init, true);
    if (this.#method !== undefined) {
      this.#all ??= new WeakMap([[this.#method, this.#fields]]);
      this.#all.set(method, fields);
    }
    this.#method = method;
    this.#fields = fields;
    return fields;
  }

  /** Makes the headers of a request that belongs to no call. */
  ofMethod(method: DescMethod, metadata: Headers | undefined): RequestHead {
    const fields = new RequestFields(this.#own(method, metadata), metadata);
    return new RequestHeaders({ fields, deadline: undefined }).make();
  }

  urlOf(method: DescMethod): string {
    const { tls, authority } = this.#init.target;
    return `${tls ? "https" : "http"}://${authority}${this.#pathOf(method)}`;
  }

  #make(method: DescMethod, init: CallHeadersInit, isUsual: boolean): RequestFields {
    const { metadata, gzip, previousAttempts } = init;
    const own = this.#own(method, metadata);
    own["grpc-accept-encoding"] = this.#init.acceptsGzip ? ENCODING : "identity";
    if (gzip) own["grpc-encoding"] = ENCODING;
    if (previousAttempts > 0) own["grpc-previous-rpc-attempts"] = String(previousAttempts);
    return new RequestFields(own, metadata, isUsual);
  }

  /** Returns the request headers that Hawser sets. */
  #own(method: DescMethod, metadata: Headers | undefined): Record<string, string> {
    const { tls, authority } = this.#init.target;
    return {
      ":method": "POST",
      ":scheme": tls ? "https" : "http",
      ":path": this.#pathOf(method),
      ":authority": authority,
      te: "trailers",
      "content-type": "application/grpc+proto",
      "user-agent": metadata?.get("user-agent") ?? USER_AGENT,
    };
  }

  #pathOf(method: DescMethod): string {
    return `${this.#init.target.pathPrefix}/${method.parent.typeName}/${method.name}`;
  }
}
