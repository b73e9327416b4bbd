import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { ConnectError, UnaryResponse } from "@connectrpc/connect";
import type { CallInit } from "../client/open-call.ts";
import { isIdempotent, type Retries } from "../client/retry.ts";
import { asFailure, fromAbort, ownCopy } from "../failure.ts";
import { one } from "../flow/pump.ts";
import { type AbortSource, sleep } from "../flow/wait.ts";
import type { CallMetadata } from "../grpc/call-metadata.ts";
import type { ClientCall } from "../grpc/client-call.ts";
import type { OnlyMessageListener } from "../grpc/exactly-one.ts";
import type { Deadline } from "../grpc/timeout.ts";
import type { CallCounter } from "../observe/call-counts.ts";
import { UnaryCallResponse } from "./call-response.ts";

/** A call whose headers are known. */
export interface ReadyCall {
  readonly deadline: Deadline | undefined;
  readonly signal: AbortSource | undefined;
  readonly metadata: CallMetadata;
}

/** One attempt at a call. */
export interface Attempt<I extends DescMessage, O extends DescMessage> {
  readonly ready: ReadyCall;
  readonly requests: AsyncIterable<MessageInitShape<I>>;
  readonly previousAttempts: number;
  /** Receives the response of a unary call. */
  readonly onlyResponse?: OnlyMessageListener<MessageShape<O>>;
  /** As of ClientCallInit. */
  readonly onEnded?: (error: ConnectError | undefined) => void;
}

/** What a unary call needs from its transport. */
export interface UnaryCallOwner {
  readonly retries: Retries;
  readonly counter: CallCounter;
  /** Aborts when the transport is closed. */
  readonly closing: AbortSource;
  /** Starts an attempt. Throws if its headers are not allowed. */
  start<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    attempt: Attempt<I, O>,
    init: CallInit,
  ): ClientCall<I, O>;
}

export interface UnaryCallParameters<I extends DescMessage, O extends DescMessage> {
  readonly method: DescMethodUnary<I, O>;
  readonly ready: ReadyCall;
  readonly request: MessageInitShape<I>;
  readonly init: CallInit;
}

/**
 * Makes a unary call, and makes it again if that is safe and may succeed; each attempt in the caller's context
 * (AsyncLocalStorage). Resolves with what `read` makes of the response.
 */
export function makeUnaryCall<I extends DescMessage, O extends DescMessage, R>(
  owner: UnaryCallOwner,
  parameters: UnaryCallParameters<I, O>,
  read: (response: UnaryResponse<I, O>) => R,
): Promise<R> {
  const call = new UnaryCall(owner, parameters);
  owner.counter.onStarted();
  return call.attempt().then(read, (error) => call.tryAgain(error).then(read));
}

class UnaryCall<I extends DescMessage, O extends DescMessage>
  implements OnlyMessageListener<MessageShape<O>>
{
  readonly #owner: UnaryCallOwner;
  readonly #parameters: UnaryCallParameters<I, O>;
  #attempts = 0;
  /** The newest attempt, and what settles its promise. */
  #call: ClientCall<I, O> | undefined;
  #resolve!: (response: UnaryResponse<I, O>) => void;
  #reject!: (error: unknown) => void;

  constructor(owner: UnaryCallOwner, parameters: UnaryCallParameters<I, O>) {
    this.#owner = owner;
    this.#parameters = parameters;
  }

  attempt(): Promise<UnaryResponse<I, O>> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#call = undefined;
      const { method, ready, request, init } = this.#parameters;
      const previousAttempts = this.#attempts++;
      const attempt = { ready, requests: one(request), previousAttempts, onlyResponse: this };
      this.#call = this.#owner.start(method, attempt, init);
    });
  }

  /** Makes further attempts after one that has failed. Throws the error of the last one. */
  async tryAgain(failed: unknown): Promise<UnaryResponse<I, O>> {
    try {
      return await this.#tryAgain(failed);
    } catch (error) {
      this.#owner.counter.onEnded(asFailure(error));
      throw error;
    }
  }

  async #tryAgain(failed: unknown): Promise<UnaryResponse<I, O>> {
    const { method, ready, init } = this.#parameters;
    const { retries, closing } = this.#owner;
    const { deadline, signal } = ready;
    const endsAt = deadline?.endsAt ?? Number.POSITIVE_INFINITY;
    for (let error = asFailure(failed); ; ) {
      if (this.#call === undefined) throw error;
      const waitMs = retries.pauseAfter(error, this.#attempts);
      if (!isIdempotent(method) || !this.#call.reached || this.#call.committed) throw error;
      if (waitMs === undefined || performance.now() + waitMs >= endsAt) throw error;
      init.observation?.onRetry(error, waitMs);
      await sleep(waitMs, signal, closing);
      if (signal?.aborted) throw fromAbort(signal.reason);
      if (closing.aborted) throw ownCopy(asFailure(closing.reason));
      try {
        return await this.attempt();
      } catch (next) {
        error = asFailure(next);
      }
    }
  }

  // OnlyMessageListener: called by the call.

  onOnlyMessage(message: MessageShape<O>): void {
    this.#owner.retries.onSuccess();
    this.#owner.counter.onEnded(undefined);
    const { method } = this.#parameters;
    this.#resolve(new UnaryCallResponse(method, message, this.#call as ClientCall<I, O>));
  }

  onNoMessage(error: unknown): void {
    this.#reject(error);
  }
}
