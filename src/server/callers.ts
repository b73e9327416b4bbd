import type { Caller, KnownCaller, Peer } from "../grpc/caller.ts";
import type { AuthenticationRequest, Authenticator } from "./authenticate.ts";
import { forwardedFor } from "./forwarded.ts";

/** Proxies that are believed when they name their clients. */
export interface TrustedProxies {
  /** @param address `undefined`: the other side of a Unix socket */
  has(address: string | undefined): boolean;
}

/** Finds out who makes the calls of a server. */
export class Callers {
  readonly #authenticator: Authenticator | undefined;
  readonly #proxies: TrustedProxies | undefined;

  constructor(authenticator: Authenticator | undefined, proxies: TrustedProxies | undefined) {
    this.#authenticator = authenticator;
    this.#proxies = proxies;
  }

  /** Whether more is to be found out than the connection shows. */
  get hasWork(): boolean {
    return this.#authenticator !== undefined || this.#proxies !== undefined;
  }

  /**
   * Returns the caller of a request whose `peer` is the client of its connection. Throws, or rejects with, the ConnectError of
   * a call that is refused.
   */
  callerOf({ header, peer, method }: AuthenticationRequest): KnownCaller | Promise<KnownCaller> {
    return this.authenticate({ header, peer: this.#clientOf(peer, header), method });
  }

  /** Returns the caller of a request before it is authenticated: that of the connection, or the client that a proxy names. */
  clientOf(connected: Caller, header: Headers): Caller {
    const peer = this.#clientOf(connected.peer, header);
    return peer === connected.peer ? connected : { identity: undefined, peer };
  }

  /** As callerOf(), for the headers of a client whose peer is known. */
  authenticate(request: AuthenticationRequest): KnownCaller | Promise<KnownCaller> {
    const { method, peer } = request;
    if (this.#authenticator?.covers(method)) return this.#authenticator.callerOf(request);
    return { identity: undefined, peer };
  }

  /**
   * The client itself, if the connection is that of a trusted proxy. Each proxy adds the address that it sees at the end:
   * the last one that is not a trusted proxy is the client; those before it are what the client says. A proxy usually writes
   * one of the two headers, and passes on the other as the client has sent it: if they name two clients, none is believed.
   */
  #clientOf(peer: Peer, header: Headers): Peer {
    const proxies = this.#proxies;
    if (proxies === undefined || !proxies.has(peer.address)) return peer;
    const isProxy = (address: string | undefined) => address !== undefined && proxies.has(address);
    const [address, ...others] = forwardedFor(header).map((seen) => {
      return seen[
        Math.max(
          seen.findLastIndex((address) => !isProxy(address)),
          0,
        )
      ];
    });
    return {
      address: others.every((other) => other === address) ? address : undefined,
      ...{ isEncrypted: peer.isEncrypted, certificate: undefined, proxy: peer },
    };
  }
}
