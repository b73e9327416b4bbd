import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import type { Peer } from "../caller.ts";
import { expired, failure, peerFailure } from "../failure.ts";
import type { KnownCaller } from "../grpc/caller.ts";
import { isThenable } from "../grpc/invoke.ts";
import { type Logger, log } from "../observe/logger.ts";
import { OnceAMinute } from "../observe/once-a-minute.ts";
import { isObject, show } from "../options.ts";

/** A call, or an attachment of a session, whose caller is not known yet. */
export interface AuthenticationRequest {
  /**
   * The request headers. Of a call in a WebSocket also those of the request that opened the WebSocket, such as `cookie` and
   * `origin`. If both have a header, that is the one, so that no script of a page can replace it; but for `authorization`.
   */
  readonly header: Headers;
  readonly peer: Peer;
  readonly method: DescMethod;
  /**
   * The headers of the request that opened the WebSocket, if the call came in one. For headers that a proxy adds, or removes,
   * to say who the caller is: no proxy sees those that a call has inside of the WebSocket.
   */
  readonly webSocketHeader?: Headers | undefined;
}

/** What `authenticate` has found out. */
export interface Authentication {
  /** The name of the caller, the same for all its calls. Only who has opened a session may resume it. */
  readonly identity: string;
  /** When the credentials expire. A call that is still open then ends with UNAUTHENTICATED. Default: never. */
  readonly expiresAt?: Date;
  /** Context values for interceptors and the handler. Calls may share an object: none of them changes it. */
  readonly values?: ContextValues;
}

/**
 * Finds out who makes a call: verifies a token, or looks at the certificate. Throws, or rejects with, a ConnectError for a
 * caller that is not allowed. Any other error is logged, and its caller gets UNAUTHENTICATED.
 */
export type Authenticate = (
  request: AuthenticationRequest,
) => Authentication | Promise<Authentication>;

/** Authenticates the callers of a server. */
export class Authenticator {
  readonly #authenticate: Authenticate;
  readonly #logger: Pick<Logger, "error">;
  /** Limits what is logged of errors of `authenticate` that are no ConnectErrors. */
  readonly #failures = new OnceAMinute();

  constructor(authenticate: Authenticate, logger: Pick<Logger, "error">) {
    this.#authenticate = authenticate;
    this.#logger = logger;
  }

  /** Returns the caller; throws, or rejects with, the ConnectError of a call that is refused. */
  callerOf(request: AuthenticationRequest): KnownCaller | Promise<KnownCaller> {
    const { peer } = request;
    try {
      const answer = this.#authenticate(request);
      if (!isThenable(answer)) return this.#read(answer, peer);
      return Promise.resolve(answer).then(
        (answer) => this.#read(answer, peer),
        (error) => {
          throw this.#refusal(error);
        },
      );
    } catch (error) {
      throw this.#refusal(error);
    }
  }

  #read(answer: Authentication, peer: Peer): KnownCaller {
    const { identity, expiresAt, values } = isObject(answer) ? answer : ({} as Authentication);
    if (typeof identity !== "string" || identity === "") {
      throw this.#bug(`an identity that is ${show(identity)}, and not a string that is not empty`);
    }
    const expiresAtMs = expiresAt === undefined ? Number.POSITIVE_INFINITY : Number(expiresAt);
    if (!(expiresAt === undefined || expiresAt instanceof Date) || Number.isNaN(expiresAtMs)) {
      throw this.#bug(`an expiresAt that is ${show(expiresAt)}, and not a valid Date`);
    }
    if (expiresAtMs <= Date.now()) throw expired();
    return { identity, peer, expiresAtMs, values };
  }

  #bug(returned: string): ConnectError {
    this.#log(`authenticate returned ${returned}`);
    return failure(Code.Internal, "internal error");
  }

  #refusal(error: unknown): ConnectError {
    if (error instanceof ConnectError) return error;
    this.#log("authenticate failed, and its caller gets UNAUTHENTICATED:", error);
    return peerFailure(Code.Unauthenticated, "the caller could not be authenticated");
  }

  #log(message: string, ...details: unknown[]): void {
    this.#failures.run(() => log(this.#logger, "error", message, ...details));
  }
}
