import type { ConnectError } from "@connectrpc/connect";
import type { CallStream, CallStreamListener, Received } from "../../src/call-stream.ts";
import { ConnectionMemory } from "../../src/connection/connection-memory.ts";
import { MessageStream } from "../../src/connection/message-stream.ts";
import {
  CONNECTION_FACTOR,
  ReceiveBudget,
  TOTAL_FACTOR,
} from "../../src/connection/receive-budget.ts";
import { asFailure } from "../../src/failure.ts";
import type { Clock } from "../../src/flow/clock.ts";
import type { ControlFrames } from "../../src/grpc/framing.ts";
import type { Http2Connection, Http2Stream } from "../../src/http2/types.ts";

/** A clock whose time passes only by pass(). */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ atMs: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  startTimer(ms: number, run: () => void): Disposable {
    const timer = { atMs: this.#now + ms, run };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  random(): number {
    return 0.5;
  }

  /** Lets time pass, and runs the timers that are due, in order. */
  pass(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers]
        .filter(({ atMs }) => atMs <= until)
        .sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = next.atMs;
      next.run();
    }
    this.#now = until;
  }
}

/**
 * The side of an HTTP/2 stream that a MessageStream sees. Its peer learns of each extension of the window immediately, and
 * the window becomes smaller only as bytes arrive.
 */
export class FakeHttp2Stream {
  unreturnedBytes = 0;
  /** The bytes that the peer may send. */
  capacity = 65_535;
  waitingBytes = 0;
  windowBytes = 65_535;
  isRemoteEnded = false;
  isClosed = false;
  resetCode: number | undefined;
  earned = 0;
  /** The bytes that came, and the pings that are not answered, on the connection. */
  receivedBytes = 0;
  readonly pings: (() => void)[] = [];
  readonly connection: Http2Connection;

  constructor() {
    const http2 = this;
    this.connection = {
      get receivedBytes() {
        return http2.receivedBytes;
      },
      earn(units: number) {
        http2.earned += units;
      },
      ping(onAnswer: () => void) {
        http2.pings.push(onAnswer);
      },
    } as Http2Connection;
  }

  writeMessage(_flags: number, payload: Uint8Array): boolean {
    this.waitingBytes += payload.length + 5;
    return false;
  }

  /** The peer sends. */
  receive(bytes: number): void {
    this.capacity -= bytes;
    this.receivedBytes += bytes;
    this.unreturnedBytes += bytes;
  }

  returnCredit(bytes: number): void {
    this.unreturnedBytes -= bytes;
    this.#extend();
  }

  setWindow(bytes: number): void {
    this.windowBytes = bytes;
    this.#extend();
  }

  #extend(): void {
    this.capacity = Math.max(this.capacity, this.windowBytes - this.unreturnedBytes);
  }

  reset(code: number): void {
    this.resetCode = code;
    this.waitingBytes = 0;
  }
}

/** A stream, with its peer and with the application that reads it. */
export class BudgetTestStream extends MessageStream {
  readonly http2 = new FakeHttp2Stream();
  /** The error with which the stream was ended. */
  error: ConnectError | undefined;
  /** The sizes of the messages that the application has not taken. */
  readonly inbox: number[] = [];
  readsAtOnce = false;
  protected readonly listener: CallStreamListener<CallStream> = {
    onMessage: ({ start, end }: Received) => {
      this.inbox.push(end - start);
      if (this.readsAtOnce) this.take();
    },
    onInvalid() {},
    onClosed() {},
  };

  constructor(memory: ConnectionMemory, readMaxBytes: number, controlFrames?: ControlFrames) {
    super({ memory, readMaxBytes, controlFrames });
    this.attach(this.http2 as unknown as Http2Stream);
  }

  /** The application takes a message. */
  take(): void {
    this.taken(this.inbox.shift() as number);
  }

  /** The peer sends bytes, as far as the window allows. Returns how many it sent. */
  send(bytes: Uint8Array): number {
    let sent = 0;
    while (sent < bytes.length && this.http2.capacity > 0 && this.error === undefined) {
      const size = Math.min(bytes.length - sent, this.http2.capacity, 16_384);
      this.http2.receive(size);
      this.onData(bytes, sent, sent + size);
      sent += size;
    }
    return sent;
  }

  protected refuseInput(error: unknown): void {
    this.error ??= asFailure(error);
    this.isDiscarding = true;
    // As a call does, which drops what it has not read.
    while (this.inbox.length > 0) this.take();
  }

  reset(): void {}

  close(): void {
    this.closed();
  }
}

/** A whole message of `size` bytes, with its prefix. */
export function framed(size: number): Uint8Array {
  const bytes = new Uint8Array(size + 5);
  new DataView(bytes.buffer).setUint32(1, size);
  return bytes;
}

/** Connections with one budget each, and one budget for all of them. */
export function budgetWorld(connectionBytes: number, totalBytes = Number.POSITIVE_INFINITY) {
  const clock = new ManualClock();
  const total = new ReceiveBudget(
    {
      bytes: totalBytes,
      of: "the server",
      limit: `serverBudgetBytes ${totalBytes} B`,
      factor: TOTAL_FACTOR,
    },
    clock,
  );
  const connect = () => {
    const limit = `connectionBudgetBytes ${connectionBytes} B`;
    const init = {
      bytes: connectionBytes,
      of: "the client's connection",
      limit,
      factor: CONNECTION_FACTOR,
    };
    const budget = new ReceiveBudget(init, clock);
    const memory = new ConnectionMemory([budget, total], clock);
    const open = (controlFrames?: ControlFrames) =>
      new BudgetTestStream(memory, 64 * 1024 * 1024, controlFrames);
    return { budget, memory, open };
  };
  return { clock, total, connect };
}
