import type { ConnectError } from "@connectrpc/connect";
import type {
  ClientCallListener,
  ClientCallStream,
  HeaderList,
  Outcome,
  Received,
  SharedFrame,
} from "../call-stream.ts";
import { MessageCounter } from "./call-counts.ts";
import { hasPassed } from "./deadline.ts";
import type { ClientCallObserver, ClientObserver, ObservedClientCall } from "./events.ts";
import type { Notifier } from "./notifier.ts";

/** What listens to a call beside its observer. */
interface CallWatcher {
  onSession(): void;
  onSessionRefused(): void;
  onSessionState(state: "open" | "resuming"): void;
  onSendEnded(error: unknown): void;
}

/** One call of a client, as its observer sees it. A call that continues from its cursor is one call with several streams. */
export class ClientCallObservation {
  readonly call: ObservedClientCall;
  /** The headers that the observer adds. */
  readonly headers: Headers | undefined;
  readonly sent = new MessageCounter();
  readonly received = new MessageCounter();
  readonly #notifier: Notifier<ClientObserver>;
  readonly #observer: ClientCallObserver | undefined;
  readonly #startedAt = performance.now();
  #attempts = 0;
  #openedMs: number | undefined;
  #resumes = 0;
  #isDetached = false;
  #isEnded = false;

  /** @param readHeaders reads the headers that the observer adds; throws if gRPC does not allow them */
  constructor(
    notifier: Notifier<ClientObserver>,
    call: ObservedClientCall,
    readHeaders: (given: HeadersInit) => Headers,
  ) {
    this.call = call;
    this.#notifier = notifier;
    const { observer } = notifier;
    this.#observer = notifier.run("callStarted", () => observer.callStarted?.(call)) ?? undefined;
    const given = this.#observer?.headers;
    if (given !== undefined) this.headers = notifier.run("headers", () => readHeaders(given));
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Whether the call was made: an interceptor may answer it itself. */
  get isMade(): boolean {
    return this.#attempts > 0;
  }

  onAttempt(): void {
    this.#attempts++;
  }

  /** The call has a stream to a server. */
  onOpen(): void {
    this.#openedMs ??= this.#elapsedMs;
  }

  /** Another attempt follows. */
  onRetry(error: ConnectError, waitMs: number): void {
    this.#notifier.tell("retrying", { call: this.call, error, waitMs });
  }

  /** The call continues from its cursor. */
  onContinued(): void {
    this.#resumes++;
  }

  /** Returns a watcher of the session of the call that tells `watcher` too. */
  watching(watcher: CallWatcher | undefined): CallWatcher & StreamWatcher {
    return {
      onSession: () => {
        this.#notifier.tell("sessionOpened", { call: this.call });
        watcher?.onSession();
      },
      onSessionRefused: () => {
        this.onAttempt();
        watcher?.onSessionRefused();
      },
      onSessionState: (state) => {
        this.#onSessionState(state);
        watcher?.onSessionState(state);
      },
      onSendEnded: (error) => watcher?.onSendEnded(error),
      onResent: (error) => {
        this.onAttempt();
        this.onRetry(error, 0);
      },
    };
  }

  #onSessionState(state: "open" | "resuming"): void {
    const { call } = this;
    if (state === "resuming") {
      // Told again each time that the server asks to wait.
      if (!this.#isDetached) this.#notifier.tell("sessionDetached", { call });
      this.#isDetached = true;
    } else if (this.#isDetached) {
      this.#isDetached = false;
      this.#resumes++;
      this.#notifier.tell("sessionResumed", { call });
    }
  }

  /**
   * The call has ended. Does nothing when called again.
   *
   * @param lost the name of a SessionLostReason, if that is why
   */
  end(error: ConnectError | undefined, lost?: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const durationMs = this.#elapsedMs;
    const { call } = this;
    const { timeoutMs } = call;
    if (lost !== undefined && error !== undefined) {
      this.#notifier.tell("sessionLost", { call, reason: lost, error });
    }
    if (timeoutMs !== undefined && hasPassed(timeoutMs, durationMs, error)) {
      this.#notifier.tell("deadlineExceeded", { call, timeoutMs });
    }
    const observer = this.#observer;
    this.#notifier.run("ended", () =>
      observer?.ended?.({
        ...{ error, durationMs, openedMs: this.#openedMs },
        ...{ sent: this.sent.count, received: this.received.count },
        ...{ attempts: this.#attempts, resumes: this.#resumes },
      }),
    );
  }

  get #elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }
}

/** What listens to the streams of a call without a session. */
interface StreamWatcher {
  /** Called when the call is sent again, since no server has processed it. */
  onResent(error: ConnectError): void;
}

/**
 * The stream of a call at a client that is observed. It stands between the call and its stream, in both directions, so that
 * calls of a transport without an observer do nothing for it.
 */
export class ObservedClientStream implements ClientCallStream, ClientCallListener {
  readonly #observation: ClientCallObservation;
  readonly #call: ClientCallListener;
  #stream!: ClientCallStream;

  constructor(observation: ClientCallObservation, call: ClientCallListener) {
    this.#observation = observation;
    this.#call = call;
  }

  // ClientCallStream: called by the call, after onStream().

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

  endSend(): void {
    this.#stream.endSend();
  }

  reset(reason: ConnectError): void {
    this.#stream.reset(reason);
  }

  // ClientCallListener: called by the stream. A call compares no streams, as a session does.

  get isOver(): boolean {
    return this.#call.isOver;
  }

  onStream(stream: ClientCallStream): void {
    this.#stream = stream;
    this.#call.onStream(this);
  }

  onOpen(): void {
    this.#observation.onOpen();
    this.#call.onOpen();
  }

  onFailed(error: ConnectError): void {
    this.#call.onFailed(error);
  }

  onHeaders(headers: HeaderList, from: ClientCallStream): void {
    this.#stream = from;
    this.#call.onHeaders(headers, this);
  }

  onMessage(message: Received): void {
    this.#observation.received.add(message.end - message.start);
    this.#call.onMessage(message, this);
  }

  onInvalid(error: ConnectError): void {
    this.#call.onInvalid(error, this);
  }

  onClosed(outcome: Outcome): void {
    this.#call.onClosed(outcome, this);
  }
}
