import { Code, type ConnectError } from "@connectrpc/connect";
import type {
  Msg,
  MsgHdrs,
  NatsConnection,
  Subscription as NatsSubscription,
  NodeConnectionOptions,
} from "@nats-io/transport-node";
import { failure } from "../../failure.ts";
import type { Incidents } from "../incidents.ts";
import type { Refusal } from "./refusal.ts";

/** The packages of NATS: optional peer dependencies of Hawser. */
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

interface PendingRequest {
  readonly resolve: (answer: Msg) => void;
  readonly reject: (error: ConnectError) => void;
  /** When the request was sent, by performance.now(). */
  readonly sentAtMs: number;
}

export interface WireOptions {
  readonly timeoutMs: number;
  readonly incidents: Incidents;
}

/**
 * A connection to NATS, which reconnects whenever it is lost. Requests are sent in the order of the
 * calls; their number is not limited. A request without an answer fails when the connection is
 * lost, or after timeoutMs.
 */
export class Wire {
  readonly connection: NatsConnection;
  readonly #timeoutMs: number;
  readonly #incidents: Incidents;
  readonly #inbox: string;
  /** The key is the token; the oldest request comes first. */
  readonly #pending = new Map<string, PendingRequest>();
  readonly #reconnectListeners = new Set<() => void>();
  #nextToken = 0;
  /** Called when no request is pending. */
  #onIdle: (() => void) | undefined;
  /** Fires when the oldest request times out. */
  #timer: NodeJS.Timeout | undefined;
  #connected = true;
  #closed = false;

  private constructor(connection: NatsConnection, inbox: string, options: WireOptions) {
    this.connection = connection;
    this.#timeoutMs = options.timeoutMs;
    this.#incidents = options.incidents;
    this.#inbox = inbox;
    connection.subscribe(`${inbox}.*`, { callback: (_, answer) => this.#onAnswer(answer) });
    void this.#followStatus();
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

  /** Sends a request. Rejects with UNAVAILABLE if no answer arrives. */
  request(subject: string, data: Uint8Array | string, headers?: MsgHdrs): Promise<Msg> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw closed();
      if (!this.#connected) throw disconnected();
      const token = String(this.#nextToken++);
      this.connection.publish(subject, data, { reply: `${this.#inbox}.${token}`, headers });
      this.#addPending(token, { resolve, reject });
    });
  }

  /** Calls a method of JetStream's API. If the server refuses, the answer has an `error`. */
  async api<T>(method: string, body: object = {}): Promise<T & { error?: Refusal }> {
    const answer = await this.request(`$JS.API.${method}`, JSON.stringify(body));
    return answer.json();
  }

  /** Calls a method of JetStream's API without waiting for the answer. */
  notify(method: string): void {
    if (this.#connected && !this.connection.isClosed())
      this.connection.publish(`$JS.API.${method}`);
  }

  /**
   * Sends a request and passes the messages that answer it to `isLast`, until that returns true.
   * Rejects with what `isLast` throws. Resolves with false if no message arrived for quietMs, which
   * must be less than timeoutMs: the server may drop a request without an answer.
   */
  async collect(
    { subject, data }: { subject: string; data: string },
    quietMs: number,
    isLast: (message: Msg) => boolean,
  ): Promise<boolean> {
    if (this.#closed) throw closed();
    if (!this.#connected) throw disconnected();
    const token = String(this.#nextToken++);
    const inbox = `${this.#inbox}.many.${token}`;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const end = () => void this.#takePending(token);
    const addPending = () => this.#addPending(token, { resolve: () => resolve(true), reject });
    using _ = this.listen(inbox, (message) => {
      // The request may have ended: its last message arrived in the same chunk as this one.
      if (!this.#pending.delete(token)) return;
      timer.refresh();
      addPending();
      try {
        if (!isLast(message)) return;
        resolve(true);
      } catch (error) {
        reject(error);
      }
      end();
    });
    this.connection.publish(subject, data, { reply: inbox });
    addPending();
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

  /** Subscribes to a subject. The subscription survives reconnects. */
  listen(subject: string, onMessage: (message: Msg) => void): NatsSubscription & Disposable {
    const subscription = this.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) onMessage(message);
      },
    });
    return Object.assign(subscription, {
      [Symbol.dispose]: () => {
        if (!this.#closed) subscription.unsubscribe();
      },
    });
  }

  /** Calls `listener` after each reconnect. Messages that were published in between were missed. */
  onReconnect(listener: () => void): Disposable {
    this.#reconnectListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#reconnectListeners.delete(listener) };
  }

  /** Refuses further requests, and waits for those that are pending. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#pending.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      await promise;
    }
    await this.connection.close();
  }

  async #followStatus(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === "disconnect") {
        this.#connected = false;
        const where = withoutCredentials(status.server);
        this.#incidents.failed(
          "connection",
          `the connection to NATS at ${where} is lost; it is being made anew`,
        );
        this.#failPending(disconnected());
      } else if (status.type === "reconnect") {
        this.#connected = true;
        this.#incidents.ended(
          "connection",
          `connected to NATS at ${withoutCredentials(status.server)} again`,
        );
        for (const listener of this.#reconnectListeners) listener();
      }
    }
  }

  #onAnswer(answer: Msg): void {
    const token = answer.subject.slice(this.#inbox.length + 1);
    const pending = this.#takePending(token);
    if (pending === undefined) return;
    this.#incidents.ended("silence", "NATS answers again");
    if (answer.data.length === 0 && answer.headers?.code === 503) {
      pending.reject(failure(Code.Unavailable, "JetStream is not there, or has not begun yet"));
    } else {
      pending.resolve(answer);
    }
  }

  #addPending(
    token: string,
    { resolve, reject }: Pick<PendingRequest, "resolve" | "reject">,
  ): void {
    this.#pending.set(token, { resolve, reject, sentAtMs: performance.now() });
    if (this.#timer === undefined) this.#startTimer(this.#timeoutMs);
  }

  #takePending(token: string): PendingRequest | undefined {
    const pending = this.#pending.get(token);
    this.#pending.delete(token);
    if (this.#pending.size === 0) this.#stopTimer();
    return pending;
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#onIdle?.();
  }

  /** All requests have the same timeout, so the oldest is the first to time out, and one timer is enough. */
  #startTimer(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const nowMs = performance.now();
      for (const [token, { reject, sentAtMs }] of this.#pending) {
        const leftMs = sentAtMs + this.#timeoutMs - nowMs;
        if (leftMs > 0) return this.#startTimer(leftMs);
        this.#takePending(token);
        const text = `NATS has not answered within timeoutMs ${this.#timeoutMs}`;
        this.#incidents.failed("silence", text);
        reject(failure(Code.Unavailable, text));
      }
    }, ms);
  }

  #failPending(error: ConnectError): void {
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    this.#stopTimer();
    for (const { reject } of lost) reject(error);
  }
}

export function closed(): ConnectError {
  return failure(Code.Unavailable, "the log is closed");
}

function disconnected(): ConnectError {
  return failure(Code.Unavailable, "the connection to NATS is lost; it is being made anew");
}

/** Removes the user and password that an address in the text may have before an @. */
function withoutCredentials(text: string): string {
  return text.replace(/[^\s/,'"]+@/g, "…@");
}
