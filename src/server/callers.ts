import type { Caller, Peer } from "../caller.ts";
import type { KnownCaller } from "../grpc/caller.ts";
import { isThenable } from "../grpc/invoke.ts";
import type { Admission } from "./admission.ts";
import type { AuthenticationRequest, Authenticator } from "./authenticate.ts";
import { forwardedFor } from "./forwarded.ts";
import { servesAll } from "./own-services.ts";
import { withWebSocketHeaders } from "./web-socket-headers.ts";

/** Proxies that are believed when they name their clients. */
export interface TrustedProxies {
  /** @param address `undefined`: the other side of a Unix socket */
  has(address: string | undefined): boolean;
}

/** What decides who the callers of a server are, and which of their calls are served. */
export interface CallersInit {
  readonly authenticator: Authenticator | undefined;
  readonly admission: Admission | undefined;
  readonly proxies: TrustedProxies | undefined;
}

/** Finds out who makes the calls of a server, and asks whether they are served. */
export class Callers {
  readonly #authenticator: Authenticator | undefined;
  readonly #admission: Admission | undefined;
  readonly #proxies: TrustedProxies | undefined;
  /** Whether the client of a connection is a trusted proxy: found out once. */
  readonly #areProxies = new WeakMap<Peer, boolean>();
  /** The headers of the requests that opened WebSockets, by their clients. */
  readonly #webSocketHeaders = new WeakMap<Peer, Headers>();

  constructor({ authenticator, admission, proxies }: CallersInit) {
    this.#authenticator = authenticator;
    this.#admission = admission;
    this.#proxies = proxies;
  }

  /** Whether nothing is to be found out, or asked, about the calls of a connection. */
  knows(client: Peer): boolean {
    if (this.#authenticator !== undefined || this.#admission !== undefined) return false;
    return !this.#isProxy(client);
  }

  /**
   * Returns the caller of a request whose `peer` is the client of its connection. Throws, or rejects with, the ConnectError of
   * a call that is refused.
   *
   * @param isNew whether the call begins with this request; otherwise it was admitted before
   */
  callerOf(
    { header, peer, method }: AuthenticationRequest,
    isNew: () => boolean = () => true,
  ): KnownCaller | Promise<KnownCaller> {
    const client = this.#clientOf(peer, header);
    const found = this.authenticate({ header, peer: client, method });
    const admission = this.#admission;
    if (admission === undefined || servesAll(method)) return found;
    const admit = (caller: KnownCaller) => {
      if (!isNew()) return caller;
      const request = this.#withWebSocket({ header, peer: client, method });
      const admitted = admission.check({ caller, method, header: request.header });
      return admitted === undefined ? caller : admitted.then(() => caller);
    };
    return isThenable(found) ? found.then(admit) : admit(found);
  }

  /** Returns the caller of a request before it is authenticated: that of the connection, or the client that a proxy names. */
  clientOf(connected: Caller, header: Headers): Caller {
    const peer = this.#clientOf(connected.peer, header);
    return peer === connected.peer ? connected : { identity: undefined, peer };
  }

  /** Returns the caller whose peer is known, by the headers of a request. Throws, or rejects, as callerOf(). */
  authenticate(request: AuthenticationRequest): KnownCaller | Promise<KnownCaller> {
    const { method, peer } = request;
    if (this.#authenticator === undefined || servesAll(method)) {
      return { identity: undefined, peer };
    }
    return this.#authenticator.callerOf(this.#withWebSocket(request));
  }

  /**
   * A client has opened a WebSocket: returns the peer of all calls in it. If a trusted proxy has passed it on, that is the client
   * which the proxy names there: it sees no headers of the calls.
   *
   * @param header the headers of the request that opened it
   */
  onWebSocket(connected: Peer, header: Headers): Peer {
    const client = this.#clientOf(connected, header);
    this.#webSocketHeaders.set(client, header);
    return client;
  }

  #withWebSocket(request: AuthenticationRequest): AuthenticationRequest {
    const webSocketHeader = this.#webSocketHeaders.get(request.peer);
    if (webSocketHeader === undefined) return request;
    const header = withWebSocketHeaders(request.header, webSocketHeader);
    return { ...request, header, webSocketHeader };
  }

  #isProxy(client: Peer): boolean {
    // The client of a WebSocket that a proxy names is no proxy itself, whatever it writes into its calls.
    if (this.#proxies === undefined || this.#webSocketHeaders.has(client)) return false;
    let isProxy = this.#areProxies.get(client);
    if (isProxy === undefined) {
      isProxy = this.#proxies.has(client.address);
      this.#areProxies.set(client, isProxy);
    }
    return isProxy;
  }

  /**
   * The client itself, if the connection is that of a trusted proxy. Each proxy adds the address that it sees at the end:
   * the last one that is not a trusted proxy is the client; those before it are what the client says. A proxy usually writes
   * one of the two headers, and passes on the other as the client has sent it: if they name two clients, none is believed.
   */
  #clientOf(peer: Peer, header: Headers): Peer {
    const proxies = this.#proxies;
    if (proxies === undefined || !this.#isProxy(peer)) return peer;
    const isProxy = (address: string | undefined) => address !== undefined && proxies.has(address);
    const [address, ...others] = forwardedFor(header).map((seen) => {
      const at = seen.findLastIndex((address) => !isProxy(address));
      return seen[Math.max(at, 0)];
    });
    return {
      address: others.every((other) => other === address) ? address : undefined,
      ...{ isEncrypted: peer.isEncrypted, certificate: undefined, proxy: peer },
    };
  }
}
