import { constants } from "node:http2";
import { Code } from "@connectrpc/connect";
import { asFailure } from "../../failure.ts";
import { settled, startTimer } from "../../flow/wait.ts";
import type { StreamHeaders } from "../../grpc/request-headers.ts";
import { ClientStream } from "./client-stream.ts";
import type { Connection, ConnectionSource } from "./connection.ts";

/**
 * How many are under way at once. A server counts streams that were reset a
 * moment ago as open; node:http2 gives up a connection that is a hundred over
 * its limit.
 */
const AT_ONCE = 32;

/** The pause before one that did not get through is sent again. */
const AGAIN_MS = 100;

/** How long they may take when the transport is closed. */
const LAST_MS = 500;

/**
 * How long the functions of the option `headers` may take for one, and how long when the transport is closed. After
 * that, and where they fail, it leaves with what they said last.
 */
const HEADERS_MS = 1000;
const LAST_HEADERS_MS = LAST_MS / 2;

/** The answer is of no interest. */
const ANSWER_MAX_BYTES = 4096;

interface Farewell {
  readonly headers: StreamHeaders;
  readonly endsAt: number;
}

/** Tells a server of sessions that are given up, a few at a time. */
export class Farewells {
  readonly #connections: ConnectionSource;
  readonly #waiting = new Set<Farewell>();
  /** Ends the wait for headers, of each that waits for them. */
  readonly #renewing = new Set<() => void>();
  #last: readonly Connection[] | undefined;
  #underWay = 0;
  #said = Promise.withResolvers<void>();

  constructor(connections: ConnectionSource) {
    this.#connections = connections;
  }

  /** Opens a stream with these headers and nothing else, unless `forMs` go by without a connection. */
  say(headers: StreamHeaders, forMs: number): void {
    this.#waiting.add({ headers, endsAt: performance.now() + forMs });
    this.#next();
  }

  /** From now on there are these connections and no others; resolves when they are no longer needed. */
  async last(connections: readonly Connection[]): Promise<void> {
    this.#last = connections;
    // What is said in this turn counts.
    await Promise.resolve();
    if (this.#underWay === 0) return;
    // The process stays for it: nothing else may keep it until transport.close() has resolved.
    using _timer = startTimer(LAST_MS, () => this.#said.resolve(), true);
    using _headers = startTimer(LAST_HEADERS_MS, () => {
      for (const endWait of this.#renewing) endWait();
    });
    await this.#said.promise;
  }

  #next(): void {
    for (const farewell of this.#waiting) {
      if (this.#underWay === AT_ONCE) return;
      this.#waiting.delete(farewell);
      this.#underWay++;
      const renewal = farewell.headers.renew();
      if (renewal === undefined) this.#send(farewell);
      else this.#renewed(renewal).then(() => this.#send(farewell));
    }
    if (this.#underWay > 0) return;
    this.#said.resolve();
    this.#said = Promise.withResolvers();
  }

  /** Resolves when new headers are there, or are waited for no longer. */
  async #renewed(renewal: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#renewing.add(resolve);
    settled(renewal, HEADERS_MS).then(resolve);
    await promise;
    this.#renewing.delete(resolve);
  }

  #send(farewell: Farewell): void {
    const over = () => {
      this.#underWay--;
      this.#next();
    };
    const again = () => {
      if (performance.now() + AGAIN_MS < farewell.endsAt) {
        startTimer(AGAIN_MS, () => this.#send(farewell));
      } else over();
    };
    const use = (connection: Connection) => {
      const stream = new ClientStream(connection, farewell.headers.make(), ANSWER_MAX_BYTES, {
        onHead() {},
        onFrame: () => true,
        onStatus: over,
        onBroken: ({ error, unprocessed, rstCode }) => {
          const busy = unprocessed || rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM;
          if (busy || error.code === Code.Unavailable) again();
          else over();
        },
      });
      stream.halfClose();
    };
    const ready =
      this.#last === undefined
        ? this.#connections.ready()
        : this.#last.find((connection) => connection.hasRoom);
    if (ready === undefined && this.#last === undefined) {
      const wanted = () => performance.now() < farewell.endsAt;
      this.#connections.acquire(use, wanted).catch((error) => {
        if (asFailure(error).code === Code.Unavailable) again();
        else over();
      });
      return;
    }
    try {
      if (ready === undefined) over();
      else use(ready);
    } catch {
      over();
    }
  }
}
