import type { FieldList } from "../../../src/http2/hpack/field-list.ts";
import type { Http2Stream, StreamEnd, StreamListener } from "../../../src/http2/types.ts";

/** What a script does when something is reported of a stream. */
export interface StreamHooks {
  headers?(log: StreamLog): void;
  /** Called with a view that is valid until it returns. */
  data?(log: StreamLog, bytes: Uint8Array): void;
  trailers?(log: StreamLog): void;
  end?(log: StreamLog): void;
  drain?(log: StreamLog): void;
  closed?(log: StreamLog): void;
}

/** Where the listener of a stream is: the order in which StreamListener is called. */
type Place = "headers" | "data" | "trailers" | "ended" | "closed";

/** Logs what an engine reports of a stream, checks its order, and returns credit at once unless it is told to hold it. */
export class StreamLog implements StreamListener {
  readonly hooks: StreamHooks;
  readonly isServer: boolean;
  headers: FieldList | undefined;
  trailers: FieldList | undefined;
  /** Copies of the data; empty if the log was told to count only. */
  readonly chunks: Buffer[] = [];
  bytes = 0;
  ended = false;
  closed: StreamEnd | undefined;
  /** Whether credit is kept, until release(). */
  holdsCredit = false;
  /** Whether data is counted, and not kept. */
  countsOnly = false;
  /** What was called out of order. */
  readonly violations: string[] = [];
  #place: Place;
  #headersEndStream: boolean;
  #held = 0;
  #waitsForDrain = false;
  #stream: Http2Stream | undefined;

  /** A client's log begins before the response headers; a server's begins with the request headers. */
  constructor(hooks: StreamHooks, request?: { fields: FieldList; endStream: boolean }) {
    this.hooks = hooks;
    this.isServer = request !== undefined;
    this.headers = request?.fields;
    this.#place = request === undefined ? "headers" : "data";
    this.#headersEndStream = request?.endStream ?? false;
  }

  get stream(): Http2Stream {
    if (this.#stream === undefined) throw new Error("the stream was not opened yet");
    return this.#stream;
  }

  set stream(stream: Http2Stream) {
    this.#stream = stream;
  }

  get body(): Buffer {
    return Buffer.concat(this.chunks);
  }

  write(bytes: Uint8Array): boolean {
    const isDone = this.stream.write(bytes);
    if (!isDone) this.#waitsForDrain = true;
    return isDone;
  }

  writeMessage(payload: Uint8Array): boolean {
    const isDone = this.stream.writeMessage(0, payload);
    if (!isDone) this.#waitsForDrain = true;
    return isDone;
  }

  /** Returns the credit that is held, or a part of it. */
  release(bytes = this.#held): void {
    this.#held -= bytes;
    this.stream.returnCredit(bytes);
  }

  get heldBytes(): number {
    return this.#held;
  }

  onHeaders(fields: FieldList, endStream: boolean): void {
    this.#require("onHeaders", "headers");
    this.#place = "data";
    this.headers = fields;
    this.#headersEndStream = endStream;
    this.hooks.headers?.(this);
  }

  onData(bytes: Uint8Array, start: number, end: number): void {
    this.#require("onData", "data");
    if (this.#headersEndStream) this.#violate("onData after headers that end the stream");
    if (!(0 <= start && start <= end && end <= bytes.length)) {
      this.#violate(`onData with ${start} to ${end} of ${bytes.length} bytes`);
    }
    const view = bytes.subarray(start, end);
    this.bytes += view.length;
    if (!this.countsOnly) this.chunks.push(Buffer.from(view));
    this.hooks.data?.(this, view);
    this.#held += view.length;
    if (!this.holdsCredit) this.release();
  }

  onTrailers(fields: FieldList): void {
    this.#require("onTrailers", "data");
    this.#place = "trailers";
    this.trailers = fields;
    this.hooks.trailers?.(this);
  }

  onEnd(): void {
    this.#require("onEnd", "data", "trailers");
    this.#place = "ended";
    this.ended = true;
    this.hooks.end?.(this);
  }

  onDrain(): void {
    if (this.#place === "closed") this.#violate("onDrain after onClosed");
    if (!this.#waitsForDrain) this.#violate("onDrain, and no write waited");
    this.#waitsForDrain = false;
    this.hooks.drain?.(this);
  }

  onClosed(end: StreamEnd): void {
    if (this.#place === "closed") this.#violate("onClosed twice");
    if (end.by === "ended" && this.#place !== "ended" && !this.hasStoppedReading) {
      this.#violate(`onClosed by "ended" after ${this.#place}`);
    }
    if (this.stream.isClosed === false) this.#violate("onClosed while isClosed is false");
    this.#place = "closed";
    this.closed = end;
    this.hooks.closed?.(this);
  }

  /** Set by a script that called stopReading(). */
  hasStoppedReading = false;

  stopReading(): void {
    this.hasStoppedReading = true;
    this.stream.stopReading();
  }

  #require(call: string, ...places: Place[]): void {
    if (!places.includes(this.#place)) this.#violate(`${call} after ${this.#place}`);
    if (this.#place === "data" && call === "onHeaders") this.#violate("onHeaders twice");
  }

  #violate(what: string): void {
    this.violations.push(`stream ${this.#stream?.id}: ${what}`);
  }
}
