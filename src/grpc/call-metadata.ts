/** The metadata of the attempts of a call: from the options `headers`, changed by interceptors. */
import { runtime } from "../flow/runtime.ts";
import { type CallHeaders, type HeadersFunction, runHeaders } from "./call-headers.ts";
import { asHeaders } from "./metadata.ts";

/** The values of the options `headers` at one time. */
export interface HeaderValues {
  /** The values of the transport alone: for requests that belong to no call. */
  readonly transport: Headers | undefined;
  /** The transport's, replaced by the call's own where both have a name. */
  readonly call: Headers | undefined;
}

/** The options `headers` of a transport and of one call. */
export class HeaderOptions {
  readonly #transport: Headers | HeadersFunction | undefined;
  readonly #call: Headers | HeadersFunction | undefined;
  /**
   * Runs the functions, in the async context of the call, and returns the values; `undefined` if there are no
   * functions.
   */
  readonly ask: (() => Promise<HeaderValues>) | undefined;
  /** The values, and the metadata of every call that sends them as they are; undefined until the first one. */
  #values: HeaderValues | undefined;
  #metadata: CallMetadata | undefined;

  /** @param transport must not be changed afterwards */
  constructor(transport: Headers | HeadersFunction | undefined, call: CallHeaders | undefined) {
    this.#transport = transport;
    this.#call = typeof call === "function" || call === undefined ? call : asHeaders(call);
    if (typeof transport === "function" || typeof call === "function") {
      const context = runtime.currentContext();
      this.ask = () => context.runInAsyncScope(() => this.#read());
    }
  }

  /** The values, if none of the options is a function. */
  current(): HeaderValues {
    if (this.#values === undefined) {
      const transport = this.#transport as Headers | undefined;
      const call = this.#call as Headers | undefined;
      this.#values = { transport, call: merged(transport, call) };
    }
    return this.#values;
  }

  /** @param sent the values as the interceptors changed them. Default: they did not */
  metadataOf(values: HeaderValues, sent = values.call): CallMetadata {
    if (values !== this.#values || sent !== values.call)
      return new CallMetadata(this, values, sent);
    this.#metadata ??= new CallMetadata(this, values, sent);
    return this.#metadata;
  }

  async #read(): Promise<HeaderValues> {
    const [transport, call] = await Promise.all([read(this.#transport), read(this.#call)]);
    return { transport, call: merged(transport, call) };
  }
}

/**
 * The metadata of a call. The first attempt sends the values of the options as the interceptors changed them. Later
 * attempts keep what the interceptors changed, and take everything else from the options again.
 */
export class CallMetadata {
  readonly #options: HeaderOptions;
  readonly #given: Headers | undefined;
  readonly #sent: Headers | undefined;
  #transport: Headers | undefined;

  constructor(options: HeaderOptions, given: HeaderValues, sent: Headers | undefined) {
    this.#options = options;
    this.#given = given.call;
    this.#transport = given.transport;
    // A copy: an interceptor may change the original later.
    this.#sent = options.ask === undefined ? sent : new Headers(sent);
  }

  /** The metadata of the first attempt. */
  get sent(): Headers | undefined {
    return this.#sent;
  }

  /** The newest values of the transport's option. */
  get transport(): Headers | undefined {
    return this.#transport;
  }

  /** Runs the functions, and returns the metadata of another attempt; `undefined` if there are no functions. */
  get again(): (() => Promise<Headers>) | undefined {
    const { ask } = this.#options;
    if (ask === undefined) return undefined;
    return async () => {
      const { transport, call } = await ask();
      this.#transport = transport;
      return this.#changed(new Headers(call));
    };
  }

  /** Applies the changes of the interceptors to `metadata`. */
  #changed(metadata: Headers): Headers {
    const names = [...(this.#given?.keys() ?? []), ...(this.#sent?.keys() ?? [])];
    for (const name of new Set(names)) {
      const value = this.#sent?.get(name) ?? null;
      if (value === (this.#given?.get(name) ?? null)) continue;
      if (value === null) metadata.delete(name);
      else metadata.set(name, value);
    }
    return metadata;
  }
}

/** Returns `first`, replaced by `second` where both have a name; one of the two itself if the other is `undefined`. */
export function merged(
  first: Headers | undefined,
  second: Headers | undefined,
): Headers | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  const headers = new Headers(first);
  for (const name of new Set(second.keys())) headers.delete(name);
  for (const [name, value] of second) headers.append(name, value);
  return headers;
}

async function read(headers: Headers | HeadersFunction | undefined): Promise<Headers | undefined> {
  return typeof headers === "function" ? asHeaders(await runHeaders(headers)) : headers;
}
