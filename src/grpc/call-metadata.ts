/** The metadata of a call, attempt by attempt: what the options `headers` say, and what interceptors made of it. */
import { runtime } from "../flow/runtime.ts";
import { type CallHeaders, type HeadersFunction, runHeaders } from "./call-headers.ts";
import { asHeaders } from "./metadata.ts";

/** What the options `headers` say at one time. */
export interface SaidHeaders {
  /** The transport's alone: for requests that belong to no call. */
  readonly transport: Headers | undefined;
  /** The transport's, and over them the call's own, by name. */
  readonly call: Headers | undefined;
}

/** The options `headers` of a transport and of one call. */
export class HeaderOptions {
  readonly #transport: Headers | HeadersFunction | undefined;
  readonly #call: Headers | HeadersFunction | undefined;
  /**
   * Has the functions run, where there are any: in the async context of the call, whatever makes another attempt
   * necessary.
   */
  readonly ask: (() => Promise<SaidHeaders>) | undefined;

  /** @param transport a Headers is not changed afterwards */
  constructor(transport: Headers | HeadersFunction | undefined, call: CallHeaders | undefined) {
    this.#transport = transport;
    this.#call = typeof call === "function" || call === undefined ? call : asHeaders(call);
    if (typeof transport === "function" || typeof call === "function") {
      const context = runtime.currentContext();
      this.ask = () => context.runInAsyncScope(() => this.#read());
    }
  }

  /** What they say where none is a function. */
  said(): SaidHeaders {
    const [transport, call] = [this.#transport, this.#call] as (Headers | undefined)[];
    return { transport, call: merged(transport, call) };
  }

  async #read(): Promise<SaidHeaders> {
    const [transport, call] = await Promise.all([read(this.#transport), read(this.#call)]);
    return { transport, call: merged(transport, call) };
  }
}

/**
 * The metadata of a call that was sent with what the options said, as its interceptors left it. In a later attempt the
 * names that they changed stay as they are; all others are as the options say then.
 */
export class CallMetadata {
  readonly #options: HeaderOptions;
  readonly #given: Headers | undefined;
  readonly #sent: Headers | undefined;
  #transport: Headers | undefined;

  constructor(options: HeaderOptions, given: SaidHeaders, sent: Headers | undefined) {
    this.#options = options;
    this.#given = given.call;
    this.#transport = given.transport;
    // A copy: an interceptor may change its own later.
    this.#sent = options.ask === undefined ? sent : new Headers(sent);
  }

  /** That of the first attempt. */
  get sent(): Headers | undefined {
    return this.#sent;
  }

  /** What the transport's option said last. */
  get transport(): Headers | undefined {
    return this.#transport;
  }

  /** Runs the functions for the metadata of another attempt; `undefined` where there are no functions. */
  get again(): (() => Promise<Headers>) | undefined {
    const { ask } = this.#options;
    if (ask === undefined) return undefined;
    return async () => {
      const { transport, call } = await ask();
      this.#transport = transport;
      return this.#changed(new Headers(call));
    };
  }

  /** With what the interceptors changed. */
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

/** The first headers, but the second by name where they have it; one of the two itself where the other has none. */
function merged(first: Headers | undefined, second: Headers | undefined): Headers | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  const headers = new Headers(first);
  for (const name of new Set(second.keys())) headers.delete(name);
  for (const [name, value] of second) headers.append(name, value);
  return headers;
}

async function read(headers: Headers | HeadersFunction | undefined): Promise<Headers | undefined> {
  return typeof headers === "function" ? asHeaders(await runHeaders(headers)) : headers;
}
