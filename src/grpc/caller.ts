import {
  Code,
  type ConnectError,
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";
import type { Caller } from "../caller.ts";
import { failure } from "../failure.ts";
import { anObject } from "../options.ts";

/** The caller of a call that was authenticated, with what only Hawser reads. */
export interface KnownCaller extends Caller {
  /** The context values that `authenticate` has returned. Several calls may have the same object. */
  readonly values?: ContextValues | undefined;
  /** When the credentials expire, by Date.now(). Default: never. */
  readonly expiresAtMs?: number;
}

/** The caller of a call, among its context values. */
export const callerKey: ContextKey<Caller | undefined> = createContextKey<Caller | undefined>(
  undefined,
  { description: "the caller of the call" },
);

/**
 * Returns who makes a call, of any protocol: in a handler `caller(context)`, in an interceptor `caller(request)`. In a
 * session: who has opened it, from where. Throws FAILED_PRECONDITION in a call that no Hawser server serves.
 */
export function caller(
  call: { readonly values: ContextValues } | { readonly contextValues: ContextValues },
): Caller {
  anObject(call, { of: "caller", option: "call" });
  const values = "contextValues" in call ? call.contextValues : call.values;
  const found = values?.get(callerKey);
  if (found === undefined) {
    const what = "caller: this is no call of a Hawser server: give the context of its handler";
    throw failure(Code.FailedPrecondition, what);
  }
  return found;
}

/** What may become of a call whose caller is not known yet. */
export interface CallValuesInit {
  /** The error of a call that is refused before it is known who makes it. */
  readonly refusal?: ConnectError | undefined;
  /** Called when the caller is authenticated. Throws the error of a call that is refused. */
  readonly onIdentified?: (caller: KnownCaller) => void;
}

/**
 * The context values of a call: its caller, what `authenticate` has returned, and above that what interceptors set. They
 * never change what `authenticate` has returned.
 */
export class CallValues implements ContextValues {
  caller: KnownCaller;
  readonly refusal: ConnectError | undefined;
  readonly #own = createContextValues();
  /** The keys whose values are in #own. */
  readonly #changed = new Set<symbol>();
  readonly #onIdentified: ((caller: KnownCaller) => void) | undefined;

  constructor(caller: KnownCaller, { refusal, onIdentified }: CallValuesInit = {}) {
    this.caller = caller;
    this.refusal = refusal;
    this.#onIdentified = onIdentified;
  }

  /** Replaces the caller: it is authenticated. */
  identify(caller: KnownCaller): void {
    this.caller = caller;
    this.#onIdentified?.(caller);
  }

  get<T>(key: ContextKey<T>): T {
    if (key.id === callerKey.id) return this.caller as T;
    const { values } = this.caller;
    return (values === undefined || this.#changed.has(key.id) ? this.#own : values).get(key);
  }

  set<T>(key: ContextKey<T>, value: T): this {
    this.#changed.add(key.id);
    this.#own.set(key, value);
    return this;
  }

  delete(key: ContextKey<unknown>): this {
    this.#changed.add(key.id);
    this.#own.delete(key);
    return this;
  }
}
