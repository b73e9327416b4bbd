import { Code, type ConnectError } from "@connectrpc/connect";
import { asFailure, failure } from "../failure.ts";
import { settled, startTimer } from "../flow/wait.ts";
import type { StreamHeaders } from "../grpc/request-headers.ts";
import type { Connection, ConnectionSource } from "./connection.ts";

/**
 * The most cancels under way at the same time. A server counts streams that were
 * just reset as open, and node:http2 destroys a connection that is a hundred
 * streams over the limit.
 */
const AT_ONCE = 32;

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

/** Cancels sessions at their server, a few at a time. */
export class SessionCancels {
  readonly #connections: ConnectionSource;
  readonly #waiting = new Set<Cancel>();
  /** For each cancel that waits for headers: ends the wait. */
  readonly #renewing = new Set<() => void>();
  #remaining: readonly Connection[] | undefined;
  #underWay = 0;
  #allSent = Promise.withResolvers<void>();

  constructor(connections: ConnectionSource) {
    this.#connections = connections;
  }

  /** Opens a stream with only these headers, if there is a connection within `forMs`. */
  send(headers: StreamHeaders, forMs: number): void {
    this.#waiting.add({ headers, endsAt: performance.now() + forMs });
    this.#next();
  }

  /** Uses only these connections from now on. Resolves when all cancels are sent, or after CLOSING_MS. */
  async flush(connections: readonly Connection[]): Promise<void> {
    this.#remaining = connections;
    // Cancels that send() is given in this turn count.
    await Promise.resolve();
    if (this.#underWay === 0) return;
    // The timer keeps the process alive until transport.close() resolves: nothing else may.
    using _timer = startTimer(CLOSING_MS, () => this.#allSent.resolve(), true);
    using _headers = startTimer(CLOSING_HEADERS_MS, () => {
      for (const endWait of this.#renewing) endWait();
    });
    await this.#allSent.promise;
  }

  #next(): void {
    for (const cancel of this.#waiting) {
      if (this.#underWay === AT_ONCE) return;
      this.#waiting.delete(cancel);
      this.#underWay++;
      const renewal = cancel.headers.renew();
      if (renewal === undefined) this.#send(cancel);
      else this.#renewed(renewal).then(() => this.#send(cancel));
    }
    if (this.#underWay > 0) return;
    this.#allSent.resolve();
    this.#allSent = Promise.withResolvers();
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
    const done = () => {
      this.#underWay--;
      this.#next();
    };
    const again = () => {
      if (performance.now() + AGAIN_MS < cancel.endsAt) {
        startTimer(AGAIN_MS, () => this.#send(cancel));
      } else done();
    };
    const use = (connection: Connection) => {
      const stream = connection.open({
        head: cancel.headers.make(),
        readMaxBytes: ANSWER_MAX_BYTES,
        listener: {
          onHeaders() {},
          onMessage() {},
          onInvalid: (_error, from) => {
            from.reset(IGNORED);
            done();
          },
          onClosed: (outcome) => {
            if (outcome.is === "lost" && mayHelp(outcome)) again();
            else done();
          },
        },
      });
      stream.endSend();
    };
    const ready =
      this.#remaining === undefined
        ? this.#connections.ready()
        : this.#remaining.find((connection) => connection.hasFreeStream);
    if (ready === undefined && this.#remaining === undefined) {
      const wanted = () => performance.now() < cancel.endsAt;
      this.#connections.acquire(use, wanted).catch((error) => {
        if (asFailure(error).code === Code.Unavailable) again();
        else done();
      });
      return;
    }
    try {
      if (ready === undefined) done();
      else use(ready);
    } catch {
      done();
    }
  }
}

/** The reason with which the stream is reset if the answer is not gRPC. */
const IGNORED = failure(Code.Canceled, "the answer to a cancel is not used");

/** Whether the cancel should be sent again: the server did not process it, because it is busy or unreachable. */
function mayHelp({ unprocessed, error }: { unprocessed: boolean; error: ConnectError }): boolean {
  return unprocessed || error.code === Code.ResourceExhausted || error.code === Code.Unavailable;
}
