import { Code, type ConnectError } from "@connectrpc/connect";
import { failure, systemReason } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import { inSlices } from "../flow/slice.ts";
import { checkRequestBytes, HEADERS_MAX_BYTES } from "../grpc/header-limits.ts";
import { createConnection } from "../http2/connection.ts";
import { listBytesOf } from "../http2/fixed-fields.ts";
import { ENHANCE_YOUR_CALM, NO_ERROR } from "../http2/frames.ts";
import type {
  ConnectionEnd,
  ConnectionListener,
  Http2Connection,
  OutputBuffers,
} from "../http2/types.ts";
import { ClientConnectionObservation } from "../observe/connections.ts";
import type { ClientObserver, CloseReason } from "../observe/events.ts";
import type { Notifier } from "../observe/notifier.ts";
import type { NegotiatedSettings } from "../session/settings.ts";
import type { Target } from "./address.ts";
import type { BytePipe } from "./byte-pipe.ts";
import { GrpcClientStream, type StreamConnection } from "./client-stream.ts";
import type { Connection, ConnectionOwner, OpenStream } from "./connection.ts";
import { ConnectionMemory } from "./connection-memory.ts";
import type { Watch, WatchedConnection } from "./keepalive.ts";
import { failureReason, goawayReason } from "./loss-reason.ts";
import { PipeDriver, type PipeOwner } from "./pipe-driver.ts";
import type { ReceiveBudget } from "./receive-budget.ts";
import { NOT_HTTP2, SERVER_CLOSED } from "./unreachable.ts";

/** What the connections of a transport share. */
export interface ClientConnectionOptions {
  readonly buffers: OutputBuffers;
  /** The bytes that the streams of all connections may hold. */
  readonly budget: ReceiveBudget;
  /** Undefined if the transport has no observer. */
  readonly notifier?: Notifier<ClientObserver> | undefined;
}

export interface ClientConnectionInit extends ClientConnectionOptions {
  readonly target: Target;
  readonly pipe: BytePipe;
  readonly owner: ConnectionOwner;
}

/** Why a connection could not be used: a reason for errors, and its cause. */
export interface NotReady {
  readonly reason: string;
  readonly cause: unknown;
}

/** One HTTP/2 connection of a client. It may be used when `ready` has resolved. */
export class ClientConnection
  implements Connection, StreamConnection, ConnectionListener, PipeOwner, WatchedConnection
{
  readonly target: Target;
  /** The address in errors. */
  readonly name: string;
  readonly memory: ConnectionMemory;
  /** The promise of `ready`, until it has settled. */
  #opening: PromiseWithResolvers<void> | undefined = Promise.withResolvers();
  readonly #pipe: BytePipe;
  readonly #owner: ConnectionOwner;
  readonly #driver: PipeDriver;
  readonly #http2: Http2Connection;
  readonly #keepalive: Watch;
  readonly #observation: ClientConnectionObservation | undefined;
  #closeReason: CloseReason | undefined;
  /** The promise of close(), if that was called. */
  #closed: PromiseWithResolvers<void> | undefined;
  #isPipeClosed = false;
  #isReady = false;
  #settings: NegotiatedSettings | false | undefined;
  /** When `sessionSettings` was set, by this process's clock. */
  #settingsSetMs = 0;
  #areSettingsOutdated = false;
  #active = 0;
  #isDraining = false;
  /** The server's reason for GOAWAY, if that named an error. */
  #goawayReason: string | undefined;
  #lost: ConnectError | undefined;
  /** The closed streams that wait for `lossReason`; undefined if there are none. */
  #lostStreams: (() => void)[] | undefined;

  constructor({ target, pipe, owner, buffers, budget, notifier }: ClientConnectionInit) {
    this.target = target;
    this.name = target.name;
    this.#observation = notifier && new ClientConnectionObservation(notifier, target.name);
    this.#pipe = pipe;
    this.#owner = owner;
    this.memory = new ConnectionMemory([budget], realClock);
    this.#driver = new PipeDriver(pipe, buffers, this);
    this.#http2 = createConnection(
      {
        ...{ role: "client", clock: realClock, buffers },
        maxHeaderListBytes: HEADERS_MAX_BYTES,
        inTurns: (step) => inSlices(step, this),
      },
      this,
    );
    this.#keepalive = owner.keepalive.watch(this);
    this.#driver.start(this.#http2);
  }

  /** Resolves with the server's SETTINGS; rejects with NotReady if the connection is lost before. */
  get ready(): Promise<void> {
    return this.#opening?.promise ?? Promise.resolve();
  }

  get hasFreeStream(): boolean {
    return this.isUsable && this.#active < this.#http2.peer.maxConcurrentStreams;
  }

  get takesNoCalls(): boolean {
    return this.isUsable && this.#http2.peer.maxConcurrentStreams === 0;
  }

  get isUsable(): boolean {
    return this.#isReady && this.#http2.isUsable && this.#lost === undefined;
  }

  get active(): number {
    return this.#active;
  }

  get lossReason(): ConnectError | undefined {
    return this.#lost;
  }

  get sessionSettings(): NegotiatedSettings | false | undefined {
    return this.#settings;
  }

  setSessionSettings(settings: NegotiatedSettings | false): void {
    this.#settings = settings;
    this.#settingsSetMs = realClock.now();
    this.#areSettingsOutdated = false;
  }

  invalidateSettings(untilMs: number): void {
    if (this.#settingsSetMs <= untilMs && this.#settings) this.#areSettingsOutdated = true;
  }

  get mustNegotiate(): boolean {
    return this.#settings === undefined || this.#areSettingsOutdated;
  }

  open(init: OpenStream): GrpcClientStream {
    const { fields, more, reserveBytes } = init.head;
    const sent = fields.to(this.target.authority, more);
    if (fields.hasMetadata) {
      const bytes = fields.bytes + listBytesOf(more) + reserveBytes;
      checkRequestBytes(bytes, this.#http2.peer.maxHeaderListBytes);
    }
    const stream = new GrpcClientStream(this, init);
    stream.open(this.#http2, sent);
    if (this.#active++ === 0) {
      this.#pipe.keepAlive(true);
      this.#keepalive.onBusy();
    }
    // The stream ids are used up: the connection ends with its streams, and later calls get another one.
    if (!this.#http2.isUsable) this.#drain();
    return stream;
  }

  onAwaited(): void {
    if (this.#active === 0) this.#keepalive.onBusy();
  }

  useHawserKeepalive(): void {
    this.#keepalive.useHawserKeepalive();
  }

  expectNetwork(): void {
    this.#keepalive.ask();
  }

  async close(reason: ConnectError): Promise<void> {
    this.#lost ??= reason;
    // Else the process may end before what was written has left.
    this.#pipe.keepAlive(true);
    this.#http2.close(NO_ERROR);
    this.#driver.destroyWhenWritten();
    if (this.#isPipeClosed) return;
    this.#closed ??= Promise.withResolvers();
    await this.#closed.promise;
  }

  // WatchedConnection: called by the keepalive.

  get bytesRead(): number {
    return this.#pipe.bytesRead;
  }

  /** Calls that wait for this connection must fail too if the server no longer answers. */
  get isBusy(): boolean {
    return this.#active > 0 || this.#owner.isAwaited();
  }

  get hasUnread(): boolean {
    return this.#driver.hasUnread;
  }

  ping(onAnswer: () => void): void {
    this.#http2.ping(onAnswer);
  }

  onDead(afterMs: number): void {
    this.#closeReason = "keepalive";
    this.#lose(`no answer to a keepalive ping for ${afterMs} ms`);
    this.#driver.destroy();
  }

  // StreamConnection: called by the streams.

  whenLost(run: () => void): void {
    if (this.#lost !== undefined) run();
    else {
      this.#lostStreams ??= [];
      this.#lostStreams.push(run);
    }
  }

  onStreamClosed(): void {
    if (--this.#active === 0) {
      this.#pipe.keepAlive(false);
      if (this.#isDraining) this.#closeIdle();
    }
    this.#owner.onChange();
  }

  // ConnectionListener: called by the HTTP/2 connection.

  /** A server cannot send requests: push is off. */
  onRequest(): undefined {}

  onOutput(): void {
    this.#driver.scheduleWrite();
  }

  onFull(): void {
    this.#driver.writeNow();
  }

  onSettings(): void {
    if (this.#isReady) this.#owner.onChange();
    else {
      this.#isReady = true;
      this.#pipe.keepAlive(false);
      this.#opening?.resolve();
      this.#opening = undefined;
      this.#observation?.onOpened();
    }
  }

  onGoaway(code: number, _lastStreamId: number, debugData: string): void {
    const { keepalive } = this.#owner;
    this.#observation?.onGoawayReceived(code, debugData);
    if (!this.#isDraining) this.#owner.onDrain();
    if (code === ENHANCE_YOUR_CALM && debugData === "too_many_pings") {
      keepalive.slowDown();
    }
    this.#goawayReason = goawayReason(code, debugData) ?? this.#goawayReason;
    this.#drain();
    this.#owner.onChange();
  }

  onClosed(end: ConnectionEnd): void {
    this.#closeReason ??= end.by;
    this.#failReady({ reason: `${NOT_HTTP2}: ${end.reason}`, cause: undefined });
    this.#lose(failureReason(end, "the server") ?? CLOSED);
    this.#driver.finish(end.by);
    this.#owner.onChange();
  }

  // PipeOwner: called by the driver.

  onPipeEnd(error: unknown): void {
    const reason = error === undefined ? undefined : systemReason(error);
    this.#failReady({ reason: reason ?? SERVER_CLOSED, cause: error });
    this.#lose(this.#goawayReason ?? reason ?? CLOSED);
  }

  onPipeClosed(): void {
    this.#keepalive[Symbol.dispose]();
    this.memory.close();
    this.#isPipeClosed = true;
    const detail = this.#lost?.rawMessage ?? "";
    if (this.#isReady) this.#observation?.onClosed(this.#closeReason ?? "lost", detail);
    this.#closed?.resolve();
    this.#owner.onChange();
  }

  #failReady(notReady: NotReady): void {
    this.#opening?.reject(notReady);
  }

  #lose(reason: string): void {
    this.#lost ??= failure(
      Code.Unavailable,
      `the connection to ${this.target.name} was lost (${reason})`,
    );
    const lostStreams = this.#lostStreams ?? [];
    this.#lostStreams = undefined;
    for (const onLost of lostStreams) {
      try {
        onLost();
      } catch {
        // As in the engine: the connection has ended, and the other calls must learn of it.
      }
    }
  }

  /** Opens no more streams, and closes the connection when the last one has ended. */
  #drain(): void {
    this.#isDraining = true;
    if (this.#active === 0) this.#closeIdle();
  }

  /** Closes the connection, on which no stream is open and none can be opened; not while it calls. */
  #closeIdle(): void {
    queueMicrotask(() => {
      if (this.#active > 0 || this.#lost !== undefined) return;
      this.#lose(this.#goawayReason ?? CLOSED);
      this.#http2.close(NO_ERROR);
    });
  }
}

const CLOSED = "the server closed it";
