import { Code, type ConnectError } from "@connectrpc/connect";
import type {
  Msg,
  MsgHdrs,
  NatsConnection,
  NodeConnectionOptions,
  Subscription,
} from "@nats-io/transport-node";
import { failure } from "../../failure.ts";
import type { Incidents } from "../incidents.ts";
import { logFailure } from "../log-failure.ts";

/** The packages of NATS, which are there only where somebody installed them. */
export interface Packages {
  readonly transport: typeof import("@nats-io/transport-node");
  readonly jetstream: typeof import("@nats-io/jetstream");
}

export async function packages(): Promise<Packages> {
  try {
    const [transport, jetstream] = await Promise.all([
      import("@nats-io/transport-node"),
      import("@nats-io/jetstream"),
    ]);
    return { transport, jetstream };
  } catch (error) {
    throw failure(
      Code.FailedPrecondition,
      "jetStreamLog() needs two packages more: npm install @nats-io/transport-node @nats-io/jetstream",
      error,
    );
  }
}

/** What the server answers where it does not do what it was asked. */
export interface Refusal {
  readonly code: number;
  readonly err_code: number;
  readonly description: string;
}

/** Codes of refusals (server/errors.json of nats-server). */
export const REFUSED = {
  noMessage: 10037,
  noStream: 10059,
  nameInUse: 10058,
  wrongSequence: 10071,
  inProcess: 10158,
};

/** No room: of the account, of the server, of its memory, of its disk. 10077 says why in words. */
const NO_ROOM = [10002, 10023, 10028, 10047];
const STORE_FAILED = 10077;

/** A refusal as an error of the log. What the server says of it may name its files: that is for the operator. */
export function refused({ err_code: code, description }: Refusal): ConnectError {
  const full =
    NO_ROOM.includes(code) ||
    (code === STORE_FAILED && /exceeded|no space|insufficient/.test(description));
  return full
    ? logFailure(Code.ResourceExhausted, {
        forClients: "the server's log has no room: nothing was stored; send it again later",
        forOperator: `JetStream has no room: ${description}: trim topics, or raise maxBytes or the server's limits`,
      })
    : logFailure(Code.Unavailable, {
        forClients: "the server's log refused this: try again later",
        forOperator: `JetStream refused: ${description} (${code})`,
      });
}

interface PendingRequest {
  readonly resolve: (answer: Msg) => void;
  readonly reject: (error: ConnectError) => void;
  readonly sinceMs: number;
}

export interface WireOptions {
  readonly timeoutMs: number;
  readonly incidents: Incidents;
}

/**
 * A connection to NATS that is made anew for ever. Requests leave in the order
 * of the calls, as many at once as there are. One that has no answer is over
 * when the connection is lost, or when its time is up: never later.
 */
export class Wire {
  readonly connection: NatsConnection;
  readonly #timeoutMs: number;
  readonly #incidents: Incidents;
  readonly #inbox: string;
  readonly #waiting = new Map<string, PendingRequest>();
  readonly #listeners = new Set<() => void>();
  #next = 0;
  #onIdle: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #connected = true;
  #closed = false;

  private constructor(connection: NatsConnection, inbox: string, options: WireOptions) {
    this.connection = connection;
    this.#timeoutMs = options.timeoutMs;
    this.#incidents = options.incidents;
    this.#inbox = inbox;
    connection.subscribe(`${inbox}.*`, { callback: (_, answer) => this.#answered(answer) });
    void this.#follow();
  }

  static async open(
    { transport }: Packages,
    options: NodeConnectionOptions,
    wireOptions: WireOptions,
  ): Promise<Wire> {
    const connection = await transport
      .connect({
        reconnectTimeWait: 200,
        reconnectJitter: 200,
        timeout: wireOptions.timeoutMs,
        pingInterval: 10_000,
        ...options,
        reconnect: true,
        maxReconnectAttempts: -1,
        ignoreAuthErrorAbort: true,
        noAsyncTraces: true,
      })
      .catch((error: Error) => {
        const where = [options.servers].flat().join(", ");
        const text = withoutCredentials(`no NATS at ${where}: ${error.message}`);
        throw failure(Code.Unavailable, text, error);
      });
    return new Wire(connection, transport.createInbox(), wireOptions);
  }

  /** Asks; rejects with UNAVAILABLE where it cannot tell what became of it. */
  request(subject: string, data: Uint8Array | string, headers?: MsgHdrs): Promise<Msg> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw closed();
      if (!this.#connected) throw away();
      const token = String(this.#next++);
      this.connection.publish(subject, data, { reply: `${this.#inbox}.${token}`, headers });
      this.#wait(token, { resolve, reject });
    });
  }

  /** Calls a method of JetStream's API; what it refuses comes back as `error`. */
  async api<T>(method: string, body: object = {}): Promise<T & { error?: Refusal }> {
    const answer = await this.request(`$JS.API.${method}`, JSON.stringify(body));
    return answer.json();
  }

  /** Calls a method of JetStream's API without a look at what becomes of it. */
  tell(method: string): void {
    if (this.#connected && !this.connection.isClosed())
      this.connection.publish(`$JS.API.${method}`);
  }

  /**
   * Asks, and takes one message after the other until `isLast` says so; what
   * it throws is the outcome. False where nothing came for quietMs, which must
   * be less than timeoutMs: the server may let go of a request without a word.
   */
  async collect(
    { subject, data }: { subject: string; data: string },
    quietMs: number,
    isLast: (message: Msg) => boolean,
  ): Promise<boolean> {
    if (this.#closed) throw closed();
    if (!this.#connected) throw away();
    const token = String(this.#next++);
    const inbox = `${this.#inbox}.many.${token}`;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const end = () => void this.#settle(token);
    const wait = () => this.#wait(token, { resolve: () => resolve(true), reject });
    using _ = this.listen(inbox, (message) => {
      // It may be over, and this one came with the last.
      if (!this.#waiting.delete(token)) return;
      timer.refresh();
      wait();
      try {
        if (!isLast(message)) return;
        resolve(true);
      } catch (error) {
        reject(error);
      }
      end();
    });
    this.connection.publish(subject, data, { reply: inbox });
    wait();
    const timer = setTimeout(() => {
      end();
      resolve(false);
    }, quietMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Hears a subject, over every connection that is made. */
  listen(subject: string, heard: (message: Msg) => void): Subscription & Disposable {
    const subscription = this.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) heard(message);
      },
    });
    return Object.assign(subscription, {
      [Symbol.dispose]: () => {
        if (!this.#closed) subscription.unsubscribe();
      },
    });
  }

  /** Tells when there is a connection again: what came between was not heard. */
  onAgain(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Takes no more requests; those under way have their time. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#waiting.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      await promise;
    }
    await this.connection.close();
  }

  async #follow(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === "disconnect") {
        this.#connected = false;
        const where = withoutCredentials(status.server);
        this.#incidents.failed(
          "connection",
          `the connection to NATS at ${where} is lost; it is being made anew`,
        );
        this.#lose(away());
      } else if (status.type === "reconnect") {
        this.#connected = true;
        this.#incidents.ended(
          "connection",
          `connected to NATS at ${withoutCredentials(status.server)} again`,
        );
        for (const listener of this.#listeners) listener();
      }
    }
  }

  #answered(answer: Msg): void {
    const token = answer.subject.slice(this.#inbox.length + 1);
    const waiting = this.#settle(token);
    if (waiting === undefined) return;
    this.#incidents.ended("silence", "NATS answers again");
    if (answer.data.length === 0 && answer.headers?.code === 503) {
      waiting.reject(failure(Code.Unavailable, "JetStream is not there, or has not begun yet"));
    } else {
      waiting.resolve(answer);
    }
  }

  #wait(token: string, { resolve, reject }: Pick<PendingRequest, "resolve" | "reject">): void {
    this.#waiting.set(token, { resolve, reject, sinceMs: performance.now() });
    if (this.#timer === undefined) this.#arm(this.#timeoutMs);
  }

  #settle(token: string): PendingRequest | undefined {
    const waiting = this.#waiting.get(token);
    this.#waiting.delete(token);
    if (this.#waiting.size === 0) this.#rest();
    return waiting;
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#onIdle?.();
  }

  /** All have the same time, so that the oldest is the first whose time is up: one timer is enough. */
  #arm(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = performance.now();
      for (const [token, { reject, sinceMs }] of this.#waiting) {
        const left = sinceMs + this.#timeoutMs - now;
        if (left > 0) return this.#arm(left);
        this.#settle(token);
        const text = `NATS has not answered within timeoutMs ${this.#timeoutMs}`;
        this.#incidents.failed("silence", text);
        reject(failure(Code.Unavailable, text));
      }
    }, ms);
  }

  #lose(error: ConnectError): void {
    const lost = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#rest();
    for (const { reject } of lost) reject(error);
  }
}

export function closed(): ConnectError {
  return failure(Code.Unavailable, "the log is closed");
}

function away(): ConnectError {
  return failure(Code.Unavailable, "the connection to NATS is lost; it is being made anew");
}

/** Of an address: a user and a password before an @ stay out of all texts. */
function withoutCredentials(text: string): string {
  return text.replace(/[^\s/,'"]+@/g, "…@");
}
