import type { ConnectError } from "@connectrpc/connect";
import type {
  End,
  HeaderList,
  Outcome,
  Received,
  ServerCallStream,
  ServerStreamListener,
  SharedFrame,
} from "../call-stream.ts";
import { toWire } from "../failure.ts";
import { type AsyncContext, runtime } from "../flow/runtime.ts";
import { MessageCounter } from "./call-counts.ts";
import { hasPassed } from "./deadline.ts";
import type { ObservedServerCall, ServerCallObserver, ServerObserver } from "./events.ts";
import type { Notifier } from "./notifier.ts";

/** One call of a server, as its observer sees it. */
export class ServerCallObservation {
  readonly call: ObservedServerCall;
  /** The context in which the handler runs; `undefined` if the observer sets none. */
  readonly scope: AsyncContext | undefined;
  readonly sent = new MessageCounter();
  readonly received = new MessageCounter();
  readonly #notifier: Notifier<ServerObserver>;
  readonly #observer: ServerCallObserver | undefined;
  readonly #startedAt = performance.now();
  #durationMs: number | undefined;
  #resumes = 0;
  #isEnded = false;

  constructor(notifier: Notifier<ServerObserver>, call: ObservedServerCall) {
    this.call = call;
    this.#notifier = notifier;
    const { observer } = notifier;
    this.#observer = notifier.run("callStarted", () => observer.callStarted?.(call)) ?? undefined;
    this.scope = this.#makeScope();
  }

  #makeScope(): AsyncContext | undefined {
    const observer = this.#observer;
    if (observer?.run === undefined) return undefined;
    let scope: AsyncContext | undefined;
    this.#notifier.run("run", () =>
      observer.run?.(() => {
        scope = runtime.currentContext();
      }),
    );
    return scope;
  }

  onSession(): void {
    this.#notifier.tell("sessionOpened", { call: this.call });
  }

  onDetached(): void {
    this.#notifier.tell("sessionDetached", { call: this.call });
  }

  onResumed(): void {
    this.#resumes++;
    this.#notifier.tell("sessionResumed", { call: this.call });
  }

  /** @param reason the name of a SessionLostReason */
  onSessionLost(reason: string, error: ConnectError): void {
    this.#notifier.tell("sessionLost", { call: this.call, reason, error });
  }

  /** The status of the call is known. */
  onStatus(): void {
    this.#durationMs ??= this.#elapsedMs;
  }

  /** Nothing of the call is left. Does nothing when called again. */
  end(error: ConnectError | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const closedMs = this.#elapsedMs;
    const durationMs = this.#durationMs ?? closedMs;
    const { call } = this;
    const { timeoutMs } = call;
    if (timeoutMs !== undefined && hasPassed(timeoutMs, durationMs, error)) {
      this.#notifier.tell("deadlineExceeded", { call, timeoutMs });
    }
    const observer = this.#observer;
    this.#notifier.run("ended", () =>
      observer?.ended?.({
        ...{ error, durationMs, closedMs, resumes: this.#resumes },
        ...{ sent: this.sent.count, received: this.received.count },
      }),
    );
  }

  get #elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }
}

/**
 * The stream of a gRPC call at a server that is observed. It stands between the call and its stream, in both directions, so
 * that calls of a server without an observer do nothing for it.
 */
export class ObservedServerStream implements ServerCallStream, ServerStreamListener {
  readonly #observation: ServerCallObservation;
  readonly #call: ServerStreamListener;
  readonly #stream: ServerCallStream;
  #end: End | undefined;

  /** @param open makes the stream, which does not call its listener yet */
  constructor(
    observation: ServerCallObservation,
    call: ServerStreamListener,
    open: (listener: ServerStreamListener) => ServerCallStream,
  ) {
    this.#observation = observation;
    this.#call = call;
    this.#stream = open(this);
  }

  // ServerCallStream: called by the call.

  get announcedHeaderBytes(): number {
    return this.#stream.announcedHeaderBytes;
  }

  get ownTrailerBytes(): number {
    return this.#stream.ownTrailerBytes;
  }

  sendHeaders(headers: HeaderList): void {
    this.#stream.sendHeaders(headers);
  }

  write(flags: number, payload: Uint8Array, shared?: SharedFrame): Promise<void> | undefined {
    const written = this.#stream.write(flags, payload, shared);
    this.#observation.sent.add(payload.length);
    return written;
  }

  taken(bytes: number): void {
    this.#stream.taken(bytes);
  }

  hold(bytes: number): void {
    this.#stream.hold(bytes);
  }

  endSend(end: End): void {
    this.#end = end;
    this.#observation.onStatus();
    this.#stream.endSend(end);
  }

  reset(reason: ConnectError): void {
    this.#stream.reset(reason);
  }

  // ServerStreamListener: called by the stream. A call compares no streams, as a session does.

  onMessage(message: Received): void {
    this.#observation.received.add(message.end - message.start);
    this.#call.onMessage(message, this);
  }

  onHalfClose(isWhole: boolean): void {
    this.#call.onHalfClose(isWhole, this);
  }

  onInvalid(error: ConnectError): void {
    this.#call.onInvalid(error, this);
  }

  onClosed(outcome: Outcome): void {
    this.#call.onClosed(outcome, this);
    this.#observation.end(errorOf(this.#end, outcome));
  }
}

/** Returns the error of a call: that of its status, even if the client could not be sent it. */
function errorOf(end: End | undefined, outcome: Outcome): ConnectError | undefined {
  if (outcome.is === "unsendable") return toWire(outcome.error);
  if (end !== undefined) return end.status === "ok" ? undefined : end.status;
  return outcome.is === "lost" ? outcome.error : undefined;
}
