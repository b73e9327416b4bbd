import { createOutputBuffers } from "../../../src/http2/buffers.ts";
import { createConnection } from "../../../src/http2/connection.ts";
import type { SentFields } from "../../../src/http2/fixed-fields.ts";
import type { FieldList } from "../../../src/http2/hpack/field-list.ts";
import type {
  ConnectionEnd,
  ConnectionListener,
  ConnectionOptions,
  EngineClock,
  Http2Connection,
  Http2Stream,
  PeerSettings,
  StreamEnd,
  StreamListener,
} from "../../../src/http2/types.ts";
import { type Frame, FrameSplitter } from "../../support/frame-splitter.ts";
import type { Header } from "../../support/hpack.ts";
import { Flag, frame, headers, PREFACE, settings, Type } from "../../support/wire.ts";

/** A clock that moves when a test says so. */
export class FakeClock implements EngineClock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  now(): number {
    return this.#now;
  }

  get timers(): number {
    return this.#timers.size;
  }

  startTimer(ms: number, run: () => void): Disposable {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  /** Lets time pass, and runs the timers that become due, in order. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = [...this.#timers]
        .filter(({ at }) => at <= until)
        .sort((a, b) => a.at - b.at)
        .at(0);
      if (due === undefined) break;
      this.#now = Math.max(this.#now, due.at);
      this.#timers.delete(due);
      due.run();
    }
    this.#now = until;
  }
}

/** Writes down what a stream's listener hears. */
export class RecordingStream implements StreamListener {
  readonly events: string[] = [];
  readonly data: number[] = [];
  headers: FieldList | undefined;
  trailers: FieldList | undefined;
  end: StreamEnd | undefined;
  /** Set by the peer that made it. */
  stream!: Http2Stream;
  /** Whether credit is returned at once. */
  returnsCredit = true;

  onHeaders(fields: FieldList, endStream: boolean): void {
    this.headers = fields;
    this.events.push(endStream ? "headers, end" : "headers");
  }
  onData(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; at++) this.data.push(bytes[at] as number);
    this.events.push(`data ${end - start}`);
    if (this.returnsCredit) this.stream.returnCredit(end - start);
  }
  onTrailers(fields: FieldList): void {
    this.trailers = fields;
    this.events.push("trailers");
  }
  onEnd(): void {
    this.events.push("end");
  }
  onDrain(): void {
    this.events.push("drain");
  }
  onClosed(end: StreamEnd): void {
    this.end = end;
    this.events.push(`closed: ${end.by} ${end.code}`);
  }
}

/** One side of a pair: an engine, and what its listener has heard. */
export class Side implements ConnectionListener {
  readonly connection: Http2Connection;
  readonly events: string[] = [];
  readonly requests: { readonly stream: Http2Stream; readonly fields: FieldList }[] = [];
  readonly streams: RecordingStream[] = [];
  readonly settings: PeerSettings[] = [];
  end: ConnectionEnd | undefined;
  /** How often onOutput() was called. */
  outputs = 0;
  /** A server: called with each request. */
  onStream: (recorded: RecordingStream, fields: FieldList) => void = () => {};
  /** What onFull() has taken and move() has not moved yet. */
  #written: Uint8Array[] = [];

  constructor(options: ConnectionOptions) {
    this.connection = createConnection(options, this);
  }

  open(fields: SentFields = request(), endStream = false): RecordingStream {
    const recorded = new RecordingStream();
    recorded.stream = this.connection.open(fields, recorded, endStream);
    return recorded;
  }

  onRequest(stream: Http2Stream, fields: FieldList, endStream: boolean): StreamListener {
    const recorded = new RecordingStream();
    recorded.stream = stream;
    recorded.headers = fields;
    recorded.events.push(endStream ? "request, end" : "request");
    this.requests.push({ stream, fields });
    this.streams.push(recorded);
    this.onStream(recorded, fields);
    return recorded;
  }
  onOutput(): void {
    this.outputs++;
  }
  onFull(): void {
    this.#take();
  }
  onSettings(settings: PeerSettings): void {
    this.settings.push(settings);
  }
  onGoaway(code: number, lastStreamId: number, debugData: string): void {
    this.events.push(`goaway ${code} ${lastStreamId} ${debugData}`);
  }
  onClosed(end: ConnectionEnd): void {
    this.end = end;
    this.events.push(`closed: ${end.by} ${end.code}`);
  }

  /** Takes all output, as a copy. */
  take(): Uint8Array[] {
    this.#take();
    const written = this.#written;
    this.#written = [];
    return written;
  }

  #take(): void {
    const taken = this.connection.take();
    if (taken !== undefined) this.#written.push(taken.slice());
  }
}

export interface PairOptions {
  readonly client?: Partial<ConnectionOptions>;
  readonly server?: Partial<ConnectionOptions>;
  /** Cuts what is moved; default: whole. */
  readonly split?: (bytes: Uint8Array) => Uint8Array[];
}

/** A client and a server, joined without sockets: their bytes move when move() is called. */
export class Pair {
  readonly clock = new FakeClock();
  readonly client: Side;
  readonly server: Side;
  readonly #split: (bytes: Uint8Array) => Uint8Array[];

  constructor({ client, server, split = (bytes) => [bytes] }: PairOptions = {}) {
    const shared = { clock: this.clock, buffers: createOutputBuffers() };
    this.client = new Side({ role: "client", ...shared, ...client });
    this.server = new Side({ role: "server", ...shared, ...server });
    this.#split = split;
  }

  /** Moves bytes until neither side has any. */
  move(): void {
    while (this.moveOnce(this.client, this.server) || this.moveOnce(this.server, this.client));
  }

  /** Moves what one side has now. Returns whether it had any. */
  moveOnce(from: Side, to: Side): boolean {
    const written = from.take();
    for (const bytes of written) {
      for (const part of this.#split(bytes)) to.connection.receive(part);
    }
    return written.length > 0;
  }
}

/** Cuts bytes one by one. */
export const byteByByte = (bytes: Uint8Array): Uint8Array[] =>
  Array.from(bytes, (_, at) => bytes.slice(at, at + 1));

export const request = (...fields: string[]): FieldList => [
  ...[":method", "POST", ":scheme", "http", ":path", "/example.Greeter/Chat", ":authority", "here"],
  ...["content-type", "application/grpc", "te", "trailers", ...fields],
];

export const response = (...fields: string[]): FieldList => [
  ...[":status", "200", "content-type", "application/grpc", ...fields],
];

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Reads whole frames. */
export function framesOf(bytes: Uint8Array): Frame[] {
  const splitter = new FrameSplitter();
  const frames = splitter.read(Buffer.from(bytes));
  if (splitter.restBytes > 0)
    throw new Error(`${splitter.restBytes} B follow the last whole frame`);
  return frames;
}

/** One engine, opposite to which a test writes frames. The beginning of the connection is over. */
export class Alone extends Side {
  readonly clock: FakeClock;
  /** All frames that were sent. */
  readonly sent: Frame[] = [];

  constructor(options: Partial<ConnectionOptions> = {}) {
    const clock = new FakeClock();
    super({ role: "server", clock, buffers: createOutputBuffers(), ...options });
    this.clock = clock;
    this.take();
    if (options.role !== "client") this.connection.receive(PREFACE);
    this.receive(settings(), frame(Type.SETTINGS, Flag.ACK, 0));
  }

  /** Receives frames, and returns those that are sent then. */
  receive(...frames: readonly Uint8Array[]): Frame[] {
    for (const bytes of frames) this.connection.receive(bytes);
    return this.frames();
  }

  /** What is sent. */
  frames(): Frame[] {
    const frames = framesOf(Buffer.concat(this.take()));
    this.sent.push(...frames);
    return frames;
  }
}

/** HEADERS of a list of names and values. */
export function headersOf(stream: number, fields: FieldList, end = false): Buffer {
  const list: Header[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    list.push([fields[at] as string, fields[at + 1] as string]);
  }
  return headers(stream, list, end);
}
