import { Code, type ConnectError } from "@connectrpc/connect";
import type { Caller } from "../caller.ts";
import { peerFailure, systemReason } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import { runtime } from "../flow/runtime.ts";
import { inSlices } from "../flow/slice.ts";
import { HEADERS_MAX_BYTES } from "../grpc/header-limits.ts";
import { isGrpc } from "../grpc/metadata.ts";
import { createConnection } from "../http2/connection.ts";
import { NO_ERROR } from "../http2/frames.ts";
import type { FieldList } from "../http2/hpack/field-list.ts";
import type {
  ConnectionEnd,
  ConnectionListener,
  Http2Connection,
  Http2Stream,
  OutputBuffers,
  StreamEnd,
  StreamListener,
} from "../http2/types.ts";
import { ServerConnectionObservation } from "../observe/connections.ts";
import type { CloseReason, ObservedServerConnection, ServerObserver } from "../observe/events.ts";
import type { Notifier } from "../observe/notifier.ts";
import type { Party } from "../sharing/parties.ts";
import type { BytePipe } from "./byte-pipe.ts";
import { connectionBudget } from "./connection-budget.ts";
import type { ConnectionMemory } from "./connection-memory.ts";
import type { Keepalive, Watch, WatchedConnection } from "./keepalive.ts";
import { failureReason, goawayReason } from "./loss-reason.ts";
import { PipeDriver, type PipeOwner } from "./pipe-driver.ts";
import type { ReceiveBudget } from "./receive-budget.ts";
import type { ServedConnection } from "./served-connection.ts";
import type { ServerMemory } from "./server-memory.ts";
import { ServerRequest } from "./server-request.ts";
import type { UsableConnection } from "./unused-connections.ts";

/** Ages vary by this part in both directions, so that connections that began together do not end together (gRFC A9). */
const AGE_JITTER = 0.1;

/** The options of all connections of a server. */
export interface ServerConnectionOptions {
  readonly clock: Clock;
  readonly buffers: OutputBuffers;
  readonly keepalive: Keepalive;
  readonly maxConcurrentStreams: number;
  /** How long the client may take for its preface and first SETTINGS, to acknowledge ours, and to end a header block. */
  readonly peerTimeoutMs: number;
  readonly abuseBudget: number;
  readonly minPingIntervalMs: number;
  /** Infinity: no limit. */
  readonly idleMs: number;
  /** Infinity: no limit. */
  readonly ageMs: number;
  readonly ageGraceMs: number;
  /** The bytes that the streams of one connection may hold. */
  readonly budgetBytes: number;
  /** The memory of all connections of the server. */
  readonly memory: ServerMemory;
  /** Called when a limit refuses a request or ends a call: with the name of its option. */
  readonly onRefused?: (limit: string, caller: Caller) => void;
  /** Undefined if the server has no observer. */
  readonly notifier?: Notifier<ServerObserver> | undefined;
}

/** Listens to the connections of a server. */
export interface ServerConnectionListener {
  /** Returns the caller of the connection itself, as the limits count it. Called once, with the first request. */
  partyOf(connection: ServerConnection): Party;
  /** Called with each request. It is served in this call, or later. */
  onRequest(request: ServerRequest): void;
  /** Called when a connection has reached its age, and takes no more calls. */
  onAged(connection: ServerConnection): void;
  /** Called when the connection is closed. */
  onClosed(connection: ServerConnection): void;
}

/** One HTTP/2 connection of a client. */
export class ServerConnection
  implements ServedConnection, ConnectionListener, PipeOwner, WatchedConnection, UsableConnection
{
  readonly #pipe: BytePipe;
  readonly #options: ServerConnectionOptions;
  readonly #listener: ServerConnectionListener;
  readonly #driver: PipeDriver;
  readonly #engine: Http2Connection;
  readonly #watch: Watch;
  readonly #budget: ReceiveBudget;
  /** Undefined until the first request. */
  #memory: ConnectionMemory | undefined;
  /** The party of the latest request, and its memory. */
  #latest: { readonly party: Party; readonly memory: ConnectionMemory } | undefined;
  readonly #observation: ServerConnectionObservation | undefined;
  #closeReason: CloseReason | undefined;
  readonly caller: Caller;
  /** Why the connection was lost, where this side knows it. */
  #lossReason: string | undefined;
  #isDraining = false;
  unusedSinceMs: number | undefined;
  isAged = false;
  /** What is to be sent after the response headers of this turn. */
  #afterHeaders: (() => void)[] | undefined;
  #isWriteScheduled = false;
  #idle: Disposable | undefined;
  #age: Disposable | undefined;

  constructor(
    pipe: BytePipe,
    of: ObservedServerConnection,
    { options, listener }: { options: ServerConnectionOptions; listener: ServerConnectionListener },
  ) {
    this.#pipe = pipe;
    this.caller = { identity: undefined, peer: of.peer };
    this.#options = options;
    this.#listener = listener;
    this.#driver = new PipeDriver(pipe, options.buffers, this);
    const { clock, buffers, maxConcurrentStreams, peerTimeoutMs, budgetBytes } = options;
    const { notifier, onRefused } = options;
    this.#observation = notifier && new ServerConnectionObservation(notifier, of);
    this.#budget = connectionBudget({
      ...{ bytes: budgetBytes, clock },
      onRefused: (limit) => onRefused?.(limit, this.caller),
    });
    const { abuseBudget, minPingIntervalMs } = options;
    this.#engine = createConnection(
      {
        role: "server",
        ...{ clock, buffers, maxConcurrentStreams, peerTimeoutMs, abuseBudget, minPingIntervalMs },
        inTurns: (step) => inSlices(step, listener.partyOf(this).caller),
        maxHeaderListBytes: HEADERS_MAX_BYTES,
      },
      this,
    );
    this.#watch = options.keepalive.watch(this);
  }

  /**
   * Begins to serve.
   *
   * @param received the bytes that were read from the pipe already
   */
  start(received: Uint8Array): void {
    this.#driver.start(this.#engine);
    this.#startIdle();
    this.#startAge();
    // In this turn, so that the answers are in one write with the SETTINGS.
    this.#driver.onReceived(received);
  }

  /** Closes the connection when what was written has reached the socket. Streams that are open end now. */
  close(): void {
    this.#engine.close(NO_ERROR);
    this.#driver.destroyWhenWritten();
  }

  /** Closes the connection now; what was written may be lost. */
  destroy(): void {
    this.#driver.destroy();
  }

  // ServedConnection: called by its requests, and by what serves them.

  get isEncrypted(): boolean {
    return this.caller.peer.isEncrypted;
  }

  get announcedHeaderBytes(): number {
    return this.#engine.peer.maxHeaderListBytes;
  }

  get memory(): ConnectionMemory {
    this.#memory ??= this.memoryOf(this.#listener.partyOf(this));
    return this.#memory;
  }

  memoryOf(party: Party): ConnectionMemory {
    // Most requests of a connection are of one caller.
    if (this.#latest?.party !== party) {
      this.#latest = { party, memory: this.#options.memory.of(party, this.#budget) };
    }
    return this.#latest.memory;
  }

  useHawserKeepalive(): void {
    this.#watch.useHawserKeepalive();
  }

  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#observation?.onGoawaySent();
    this.#engine.goaway();
  }

  lossOf(end: StreamEnd): ConnectError {
    const { by, reason } = end;
    if (by === "invalid") return peerFailure(Code.Internal, `protocol error: ${reason}`);
    if (by !== "connection") return peerFailure(Code.Canceled, "the client cancelled the call");
    const why = this.#lossReason ?? failureReason(end, "the client");
    const lost = `the connection to the client was lost${why === undefined ? "" : ` (${why})`}`;
    return peerFailure(Code.Canceled, lost);
  }

  afterHeaders(send: () => void): void {
    if (!this.isEncrypted) {
      send();
      return;
    }
    this.#afterHeaders ??= [];
    this.#afterHeaders.push(send);
    this.#scheduleWrite();
  }

  onStreamClosed(): void {
    if (this.#engine.openStreams === 0) this.#startIdle();
  }

  // WatchedConnection: called by the keepalive.

  get bytesRead(): number {
    return this.#pipe.bytesRead;
  }

  get isBusy(): boolean {
    return this.#engine.openStreams > 0;
  }

  get hasUnread(): boolean {
    return this.#driver.hasUnread;
  }

  ping(onAnswer: () => void): void {
    this.#engine.ping(onAnswer);
  }

  onDead(afterMs: number): void {
    this.#closeReason = "keepalive";
    this.#lossReason = `no answer to a keepalive ping for ${afterMs} ms`;
    this.destroy();
  }

  // ConnectionListener: called by the engine.

  onRequest(stream: Http2Stream, fields: FieldList): StreamListener {
    if (this.#engine.openStreams === 1) this.#watch.onBusy();
    this.unusedSinceMs = undefined;
    this.#idle?.[Symbol.dispose]();
    const request = new ServerRequest(stream, this, fields);
    if (this.memory.admits) this.#listener.onRequest(request);
    else {
      this.memory.onRefused();
      request.refuse();
    }
    return request.takeListener();
  }

  onTooLargeRequest(stream: Http2Stream, fields: FieldList): void {
    const request = new ServerRequest(stream, this, fields);
    if (!isGrpc(request.fields.contentType)) {
      request.answer({ ":status": 431 });
      return;
    }
    const what = `the call's headers are over the ${HEADERS_MAX_BYTES} B that this server takes (32 B are counted for each header): send less metadata`;
    request.refuseCall(peerFailure(Code.ResourceExhausted, what));
  }

  onOutput(): void {
    if (!this.isEncrypted) this.#driver.scheduleWrite();
    else this.#scheduleWrite();
  }

  onFull(): void {
    this.#driver.writeNow();
  }

  onSettings(): void {}

  onGoaway(code: number, _lastStreamId: number, debugData: string): void {
    this.#observation?.onGoawayReceived(code, debugData);
    this.#lossReason = goawayReason(code, debugData) ?? this.#lossReason;
  }

  onClosed(end: ConnectionEnd): void {
    this.#closeReason ??= end.by;
    this.#lossReason ??= failureReason(end, "the client");
    this.#driver.finish(end.by);
  }

  // PipeOwner: called by the driver.

  onPipeEnd(error: unknown): void {
    if (error !== undefined) this.#lossReason ??= systemReason(error);
  }

  onPipeClosed(): void {
    this.#watch[Symbol.dispose]();
    this.#idle?.[Symbol.dispose]();
    this.#age?.[Symbol.dispose]();
    this.#observation?.onClosed(this.#closeReason ?? "closed", this.#lossReason ?? "");
    this.#listener.onClosed(this);
  }

  #scheduleWrite(): void {
    if (this.#isWriteScheduled) return;
    this.#isWriteScheduled = true;
    runtime.afterMicrotasks(() => this.#write());
  }

  #write(): void {
    this.#isWriteScheduled = false;
    const sends = this.#afterHeaders ?? [];
    this.#afterHeaders = undefined;
    for (const send of sends) send();
    this.#driver.writeNow();
  }

  #startIdle(): void {
    const { clock, idleMs } = this.#options;
    this.unusedSinceMs = clock.now();
    if (idleMs === Number.POSITIVE_INFINITY || this.#isDraining) return;
    this.#idle?.[Symbol.dispose]();
    this.#idle = clock.startTimer(idleMs, () => {
      if (this.#engine.openStreams === 0) this.drain();
    });
  }

  #startAge(): void {
    const { clock, ageMs, ageGraceMs } = this.#options;
    if (ageMs === Number.POSITIVE_INFINITY) return;
    const jitter = 1 + AGE_JITTER * (2 * clock.random() - 1);
    this.#age = clock.startTimer(ageMs * jitter, () => {
      this.isAged = true;
      this.drain();
      this.#listener.onAged(this);
      if (ageGraceMs === Number.POSITIVE_INFINITY) return;
      this.#age = clock.startTimer(ageGraceMs, () => {
        this.#lossReason = `it was closed connectionAgeGraceMs ${ageGraceMs} ms after its age`;
        this.#engine.close(NO_ERROR);
      });
    });
  }
}
