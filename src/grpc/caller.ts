import {
  Code,
  type ConnectError,
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { anObject } from "../options.ts";

/** The client of a call, as its connection shows it. */
export interface Peer {
  /**
   * Its IP address. If the connection comes from one of `trustedProxies`: the address that the proxy names, if it names
   * one. `undefined` on a Unix socket.
   */
  readonly address: string | undefined;
  /** Whether the connection has TLS. */
  readonly isEncrypted: boolean;
  /** Its certificate, if it has shown one. Never that of a proxy. */
  readonly certificate: PeerCertificate | undefined;
  /** The proxy of `trustedProxies` that the connection comes from, if it comes from one. */
  readonly proxy: Peer | undefined;
}

/** An IPv4 client of a socket that takes IPv6 too has the address `::ffff:192.0.2.1`; it is the same client. */
export function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
}

/** The certificate of a client, which has proven that it has the key. */
export interface PeerCertificate {
  /**
   * Whether a CA of `tls.ca` has signed it. If not (`requestClientCertificate` without `ca`), only the fingerprint says
   * anything: the client has written the names itself.
   */
  readonly isTrusted: boolean;
  /** The attributes of its subject, such as `CN` and `O`. An attribute that stands there several times has an array. */
  readonly subject: Readonly<Record<string, string | readonly string[]>>;
  /** The alternative names of its subject, each with its kind: `DNS:a.example`, `URI:spiffe://a.example/b`. */
  readonly subjectAltNames: readonly string[];
  /** The SHA-256 of the certificate: `AB:CD:…`. */
  readonly fingerprint256: string;
  /** The SPIFFE ID of a trusted certificate that has one: its only URI, which begins with `spiffe://`. */
  readonly spiffeId: string | undefined;
}

/** The caller of a call: its identity, and the client that it uses. */
export interface Caller {
  /** What `authenticate` has returned. `undefined` if the server does not authenticate, or not for this method. */
  readonly identity: string | undefined;
  readonly peer: Peer;
}

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
