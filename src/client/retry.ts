/**
 * Decides when a unary call is made again (gRPC A6): the method's option idempotency_level allows it, the server was
 * reached and answered UNAVAILABLE, and few other calls fail.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError } from "@connectrpc/connect";
import { Backoff, GRPC_JITTER } from "../flow/backoff.ts";

const ATTEMPTS = 4;
const BACKOFF = { initialMs: 100, factor: 2, maxMs: 1000, jitter: GRPC_JITTER };
const TOKENS = { max: 10, perSuccess: 0.1 };

/** Whether the contract declares a method as safe to call twice. */
export function isIdempotent(method: DescMethod): boolean {
  return method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
}

/**
 * The retries of one transport. Each failure takes a token; nothing is retried while only half of the tokens are left.
 */
export class Retries {
  readonly #backoff = new Backoff(BACKOFF);
  #tokens: number = TOKENS.max;

  onSuccess(): void {
    this.#tokens = Math.min(this.#tokens + TOKENS.perSuccess, TOKENS.max);
  }

  /**
   * Counts a failure. Returns how long to wait before the next attempt, in milliseconds, or `undefined` if no other
   * attempt follows. The server can decide both, in grpc-retry-pushback-ms.
   *
   * @param attempts how many attempts were made
   */
  pauseAfter(error: ConnectError, attempts: number): number | undefined {
    const pushback = error.metadata.get("grpc-retry-pushback-ms");
    if (error.code !== Code.Unavailable) return undefined;
    this.#tokens = Math.max(this.#tokens - 1, 0);
    if (attempts >= ATTEMPTS || this.#tokens <= TOKENS.max / 2) return undefined;
    if (pushback !== null) return /^\d+$/.test(pushback) ? Number(pushback) : undefined;
    return this.#backoff.pauseMs(attempts - 1);
  }
}
