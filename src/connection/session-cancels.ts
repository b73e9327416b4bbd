import { Code, type ConnectError } from "@connectrpc/connect";
import { asFailure, failure } from "../failure.ts";
import { settled, startTimer } from "../flow/wait.ts";
import type { Connection, ConnectionSource } from "./connection.ts";
import type { StreamHeaders } from "./request-headers.ts";

/** The pause before a cancel that the server did not take is sent again. */
const AGAIN_MS = 100;

/** The cancels may take this long when the transport is closed. */
const CLOSING_MS = 500;

/**
 * The functions of the option `headers` may take this long for a cancel, and when the transport is closed. After that,
 * or if they fail, the cancel is sent with the headers that they returned before.
 */
const HEADERS_MS = 1000;
const CLOSING_HEADERS_MS = CLOSING_MS / 2;

/** The limit of the answer, which is not used. */
const ANSWER_MAX_BYTES = 4096;

interface Cancel {
  readonly headers: StreamHeaders;
  readonly endsAt: number;
}

/** Cancels sessions at their server: each on a stream of its own, as soon as one is free. */
export class SessionCancels {
  readonly #connections: ConnectionSource;
  /** The cancels that were not answered yet. */
  readonly #underWay = new Set<Cancel>();
  /** Those of them that wait for a free stream of `#remaining`. */
  readonly #waiting = new Set<Cancel>();
  /** For each cancel that waits for headers: ends the wait. */
  readonly #renewing = new Set<() => void>();
  #remaining: readonly Connection[] | undefined;
  /** Resolves when the transport is closed and no cancel is under way. */
  readonly #allSent = Promise.withResolvers<void>();

  constructor(connections: ConnectionSource) {
    this.#connections = connections;
  }

  /** Opens a stream with only these headers, if there is a connection within `forMs`. */
  send(headers: StreamHeaders, forMs: number): void {
    const cancel = { headers, endsAt: performance.now() + forMs };
    this.#underWay.add(cancel);
    const renewal = headers.renew();
    if (renewal === undefined) this.#send(cancel);
    else this.#renewed(renewal).then(() => this.#send(cancel));
  }

  /** Uses only these connections from now on. Resolves when all cancels are sent, or after CLOSING_MS. */
  async flush(connections: readonly Connection[]): Promise<void> {
    this.#remaining = connections;
    // Cancels that send() is given in this turn count.
    await Promise.resolve();
    if (this.#underWay.size === 0) return;
    // The timer keeps the process alive until transport.close() resolves: nothing else may.
    const timer = startTimer(CLOSING_MS, () => this.#allSent.resolve(), true);
    const headers = startTimer(CLOSING_HEADERS_MS, () => {
      for (const endWait of this.#renewing) endWait();
    });
    await this.#allSent.promise;
    timer[Symbol.dispose]();
    headers[Symbol.dispose]();
  }

  /** Resolves when the new headers are known, or the wait for them has ended. */
  async #renewed(renewal: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#renewing.add(resolve);
    settled(renewal, HEADERS_MS).then(resolve);
    await promise;
    this.#renewing.delete(resolve);
  }

  #send(cancel: Cancel): void {
    const ready =
      this.#remaining === undefined
        ? this.#connections.ready()
        : this.#remaining.find((connection) => connection.hasFreeStream);
    if (ready !== undefined) this.#open(cancel, ready);
    else if (this.#remaining === undefined) this.#acquire(cancel);
    // If no other cancel has a stream, none becomes free.
    else if (this.#underWay.size > this.#waiting.size + 1) this.#waiting.add(cancel);
    else this.#done(cancel);
  }

  #acquire(cancel: Cancel): void {
    const wanted = () => performance.now() < cancel.endsAt;
    this.#connections
      .acquire((connection) => this.#open(cancel, connection), wanted)
      .catch((error) => {
        if (asFailure(error).code === Code.Unavailable) this.#sendAgain(cancel);
        else this.#done(cancel);
      });
  }

  #open(cancel: Cancel, connection: Connection): void {
    try {
      const stream = connection.open({
        head: cancel.headers.make(),
        readMaxBytes: ANSWER_MAX_BYTES,
        listener: {
          onHeaders() {},
          onMessage() {},
          onInvalid: (_error, from) => {
            from.reset(IGNORED);
            this.#done(cancel);
          },
          onClosed: (outcome) => {
            if (outcome.is === "lost" && mayHelp(outcome)) this.#sendAgain(cancel);
            else this.#done(cancel);
          },
        },
      });
      stream.endSend();
    } catch {
      // The headers are not valid, or the connection was just lost.
      this.#done(cancel);
    }
  }

  #sendAgain(cancel: Cancel): void {
    if (performance.now() + AGAIN_MS >= cancel.endsAt) this.#done(cancel);
    else startTimer(AGAIN_MS, () => this.#send(cancel));
  }

  #done(cancel: Cancel): void {
    this.#underWay.delete(cancel);
    if (this.#remaining === undefined) return;
    if (this.#underWay.size === 0) this.#allSent.resolve();
    // The stream of this one is free when it is closed, after this call.
    else if (this.#waiting.size > 0) queueMicrotask(() => this.#sendWaiting());
  }

  #sendWaiting(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const cancel of waiting) this.#send(cancel);
  }
}

/** The reason with which the stream is reset if the answer is not gRPC. */
const IGNORED = failure(Code.Canceled, "the answer to a cancel is not used");

/** Whether the cancel should be sent again: the server did not process it, because it is busy or unreachable. */
function mayHelp({ unprocessed, error }: { unprocessed: boolean; error: ConnectError }): boolean {
  return unprocessed || error.code === Code.ResourceExhausted || error.code === Code.Unavailable;
}
