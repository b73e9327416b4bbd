/** The two ends of a simulated stream: as client-stream.ts, server-stream.ts and server-sessions.ts, without sockets. */
import { Code, ConnectError } from "@connectrpc/connect";
import type {
  ClientStreamListener,
  End,
  Outcome,
  Received,
  ServerStreamListener,
  Status,
} from "../../src/call-stream.ts";
import { failure, toWire } from "../../src/failure.ts";
import { FrameReader } from "../../src/grpc/framing.ts";
import { readStatus, statusTrailers } from "../../src/grpc/status.ts";
import type { ClientAttachment, ServerAttachment } from "../../src/session/attachment.ts";
import { CONTROL, CONTROL_FRAMES, readControl } from "../../src/session/control.ts";
import type { FramedSource } from "../../src/session/spool.ts";
import type { FakeClock } from "./session-sim-clock.ts";
import { type Fields, type Item, Pipe, SimOutbox } from "./session-sim-wire.ts";

/** How long a client may take to confirm an end before the stream is freed, as in server-sessions.ts. */
const LINGER_MS = 1000;

/** No message of a test is longer than 1 MiB. */
const FRAME_RULES = { readMaxBytes: 1024 * 1024, controlFrames: CONTROL_FRAMES };

type Values = Record<string, string | string[] | undefined>;

/** The listener of the counts in the control frames of a stream. */
export interface Counts {
  /** The other side acknowledged `count`. */
  onAcknowledged(count: number): void;
  /** This side did. */
  onTold(count: number): void;
}

/** Passes the count of a control frame that is sent. */
function tellOf(flags: number, bytes: Uint8Array, counts: Counts): void {
  const control = readControl({ flags, bytes, start: 0, end: bytes.length });
  if (control?.case === "received") counts.onTold(Number(control.value));
}

/** Headers as they come, in strings. */
export function asValues(fields: Fields): Values {
  const values: Values = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) values[name] = Array.isArray(value) ? value : String(value);
  }
  return values;
}

/** The client's end of a stream. */
export class SimClientStream implements ClientAttachment {
  readonly up = new Pipe();
  readonly outbox: SimOutbox;
  readonly #watcher: ClientStreamListener | undefined;
  readonly #counts: Counts;
  readonly #reader: FrameReader;
  #head: Fields | undefined;
  #status: Status | undefined;
  #tail: Fields = {};
  #ended = false;
  #over = false;

  /** @param watcher undefined if the client only sends a cancel */
  constructor(headers: Fields, watcher: ClientStreamListener | undefined, counts: Counts) {
    this.#watcher = watcher;
    this.#counts = counts;
    this.#reader = new FrameReader(FRAME_RULES, this);
    this.outbox = new SimOutbox(this.up);
    this.up.put({ is: "headers", fields: headers });
  }

  /** Whether this stream has no listener any more. */
  get over(): boolean {
    return this.#over;
  }

  /** Whether the client gave it up, or ended its side. */
  get ended(): boolean {
    return this.#ended;
  }

  get waitingBytes(): number {
    return this.outbox.waitingBytes;
  }

  pull(kept: FramedSource): Promise<void> | undefined {
    return this.outbox.pull(kept);
  }

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    tellOf(flags, payload, this.#counts);
    return this.outbox.write(flags, payload);
  }

  /** A session is read without pause. */
  taken(): void {}

  hold(): void {}

  endSend(): void {
    this.outbox.putRest();
    this.#end({ is: "end", fields: {} });
  }

  release(): void {
    this.outbox.release();
  }

  reset(error: ConnectError): void {
    this.#over = true;
    this.outbox.fail(error);
    this.#end({ is: "reset" });
  }

  /** Takes an item that arrived from the server. */
  receive(item: Item): void {
    if (item.is === "data") {
      if (!this.#over) this.#read(item.bytes);
    } else if (item.is === "headers") {
      if (this.#over) return;
      this.#head = item.fields;
      this.#watcher?.onHeaders(asValues(item.fields), this);
    } else if (item.is === "end") {
      this.#tail = item.fields;
      this.#status = this.#readStatus(item.fields);
      this.#finish();
    } else this.lost();
  }

  /** Tells the client that the connection was lost, or that the server reset the stream. */
  lost(): void {
    if (this.#status !== undefined) this.#finish();
    else {
      const error = failure(Code.Unavailable, "the connection was lost");
      this.#close({ is: "lost", error, unprocessed: false });
    }
  }

  onFrame(frame: Received): void {
    if (this.#over) return;
    const control = (frame.flags & CONTROL) === 0 ? undefined : readControl(frame);
    if (control?.case === "received") this.#counts.onAcknowledged(Number(control.value));
    this.#watcher?.onMessage(frame, this);
  }

  #read(bytes: Uint8Array): void {
    try {
      this.#reader.push(bytes, 0, bytes.length);
    } catch (error) {
      if (this.#over) return;
      this.#over = true;
      this.#watcher?.onInvalid(toWire(error), this);
    }
  }

  /** An error brings the response headers along, as Connect's errors do. */
  #readStatus(trailers: Fields): Status {
    const status = readStatus(asValues(trailers)) ?? failure(Code.Internal, "no status");
    if (status instanceof ConnectError) {
      for (const [name, value] of Object.entries(this.#head ?? {})) {
        if (!name.startsWith(":")) status.metadata.append(name, String(value));
      }
    }
    return status;
  }

  #finish(): void {
    this.#close({ is: "ended", status: this.#status ?? "ok", trailers: asValues(this.#tail) });
  }

  #close(outcome: Outcome): void {
    if (this.#over) return;
    this.#over = true;
    this.#watcher?.onClosed(outcome, this);
  }

  #end(item: Item): void {
    if (this.#ended) return;
    this.#ended = true;
    this.up.put(item);
  }
}

/** The server's end of a stream that was let in. */
export class SimServerStream implements ServerAttachment {
  readonly outbox: SimOutbox;
  readonly #down: Pipe;
  readonly #session: ServerStreamListener;
  readonly #clock: FakeClock;
  readonly #reader: FrameReader;
  readonly #counts: Counts;
  #headersSent = false;
  #lingering: Disposable | undefined;
  #ignoresClient = false;
  #over = false;
  #ended = false;
  #clientEnded = false;
  #closed = false;
  #told = false;
  #callEnd: End | undefined;
  /** Called when it no longer has its session. */
  onLost: (() => void) | undefined;

  constructor(down: Pipe, session: ServerStreamListener, clock: FakeClock, counts: Counts) {
    this.#down = down;
    this.#session = session;
    this.#clock = clock;
    this.#counts = counts;
    this.#reader = new FrameReader(FRAME_RULES, this);
    this.outbox = new SimOutbox(down);
  }

  readonly announcedHeaderBytes = 65_536;
  readonly ownTrailerBytes = 0;

  /** Whether it may still have its session. */
  get carries(): boolean {
    return !this.#over && !this.#closed;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether it only waits for the client to confirm the end. */
  get lingers(): boolean {
    return this.#lingering !== undefined && !this.#closed;
  }

  sendHeaders(headers: Fields): void {
    if (this.#headersSent || this.#closed) return;
    this.#headersSent = true;
    this.#down.put({ is: "headers", fields: headers });
  }

  get waitingBytes(): number {
    return this.outbox.waitingBytes;
  }

  pull(kept: FramedSource): Promise<void> | undefined {
    return this.outbox.pull(kept);
  }

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    tellOf(flags, payload, this.#counts);
    return this.outbox.write(flags, payload);
  }

  /** A session is read without pause. */
  taken(): void {}

  hold(): void {}

  endSend(end: End): void {
    this.#callEnd = end;
    this.#over = true;
    if (this.#closed || this.#ended) return;
    this.outbox.putRest();
    this.#ended = true;
    this.#down.put({ is: "end", fields: end.trailers });
    if (this.#headersSent && !this.#clientEnded) {
      this.#lingering = this.#clock.startTimer(LINGER_MS, () => {
        this.#ignoresClient = true;
        this.#close();
      });
    } else this.#close();
  }

  refuse(error: ConnectError): void {
    this.outbox.release();
    this.endSend({ status: error, trailers: statusTrailers(error, undefined) as Fields });
  }

  release(): void {
    this.outbox.release();
  }

  reset(): void {
    this.#over = true;
    if (this.#closed) return;
    this.#down.lose();
    this.#down.put({ is: "reset" });
    this.#close();
  }

  /** An item of the client has arrived. */
  receive(item: Item): void {
    if (this.#closed || item.is === "headers") return;
    if (item.is === "data") this.#read(item.bytes);
    else if (item.is === "reset") this.lost();
    else {
      this.#clientEnded = true;
      if (!this.#ignoresClient) this.#onHalfClose();
      if (this.#ended) this.#close();
    }
  }

  /** Tells the server that the connection was lost, or that the client reset the stream. */
  lost(): void {
    if (this.#closed) return;
    if (!this.#over) {
      this.#over = true;
      this.#ignoresClient = true;
      this.onLost?.();
      this.#tell();
    }
    this.#close();
  }

  onFrame(frame: Received): void {
    const control = (frame.flags & CONTROL) === 0 ? undefined : readControl(frame);
    if (control?.case === "received") this.#counts.onAcknowledged(Number(control.value));
    this.#session.onMessage(frame, this);
  }

  /** Ends the server's end of the stream with its process. */
  die(): void {
    this.#closed = true;
    this.outbox.release();
  }

  #read(bytes: Uint8Array): void {
    if (this.#ignoresClient) return;
    try {
      this.#reader.push(bytes, 0, bytes.length);
    } catch (error) {
      this.#ignoresClient = true;
      this.#session.onInvalid(toWire(error), this);
    }
  }

  #onHalfClose(): void {
    this.#session.onHalfClose(!this.#reader.isPartial, this);
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#lingering?.[Symbol.dispose]();
    this.onLost?.();
    this.#tell();
  }

  /** Tells the session that the stream is closed, once. */
  #tell(): void {
    if (this.#told) return;
    this.#told = true;
    const error = failure(Code.Canceled, "the client cancelled the call");
    const lost = { is: "lost", error, unprocessed: false } as const;
    this.#session.onClosed(this.#callEnd ? { is: "ended", ...this.#callEnd } : lost, this);
  }
}
