import { createConnection } from "../../../src/http2/connection.ts";
import type { FieldList } from "../../../src/http2/hpack/field-list.ts";
import type {
  ConnectionEnd,
  ConnectionListener,
  ConnectionOptions,
  Http2Connection,
  Http2Stream,
  PeerSettings,
  StreamListener,
} from "../../../src/http2/types.ts";
import { FakeTime } from "../../support/session-sim-clock.ts";
import { CheckedPool } from "./pool.ts";
import { type StreamHooks, StreamLog } from "./stream-log.ts";

const NOTHING = Buffer.alloc(0);

export interface EndOptions extends Partial<ConnectionOptions> {
  readonly role: "client" | "server";
  readonly time?: FakeTime;
  /** A server: what its streams do; by default nothing. */
  readonly onRequest?: (log: StreamLog) => void;
  /** A server: the hooks of its streams. */
  readonly hooks?: StreamHooks;
  /** Whether the output is blocked each time that it is full. */
  readonly blocksWhenFull?: boolean;
}

/** One engine, without a pipe: its output waits in `output`. It logs what the engine reports, and checks the order. */
export class End implements ConnectionListener {
  readonly connection: Http2Connection;
  readonly time: FakeTime;
  readonly pool = new CheckedPool();
  readonly output: Buffer[] = [];
  /** All streams so far, in their order. */
  readonly streams: StreamLog[] = [];
  readonly goaways: { code: number; lastStreamId: number; debugData: string }[] = [];
  readonly settings: PeerSettings[] = [];
  end: ConnectionEnd | undefined;
  /** Requests that were over maxHeaderListBytes. */
  tooLarge = 0;
  readonly #options: EndOptions;
  readonly #violations: string[] = [];
  #toldOutput = false;

  constructor(options: EndOptions) {
    this.#options = options;
    this.time = options.time ?? new FakeTime();
    const { role, time: _, onRequest: __, hooks: ___, blocksWhenFull: ____, ...rest } = options;
    this.connection = createConnection(
      { clock: this.time.clock(), buffers: this.pool, ...rest, role },
      this,
    );
  }

  /** What was called against the contract of src/http2/types.ts. */
  get violations(): string[] {
    const own = [...this.#violations, ...this.pool.violations];
    return [...own, ...this.streams.flatMap((log) => log.violations)];
  }

  get isClient(): boolean {
    return this.#options.role === "client";
  }

  get openStreams(): readonly StreamLog[] {
    return this.streams.filter((log) => log.closed === undefined);
  }

  stream(id: number): StreamLog {
    const found = this.streams.find((log) => log.stream.id === id);
    if (found === undefined) throw new Error(`there is no stream ${id}`);
    return found;
  }

  /** A client: opens a stream. */
  open(fields: FieldList, hooks: StreamHooks = {}, endStream = false): StreamLog {
    const log = new StreamLog(hooks);
    log.stream = this.connection.open(fields, log, endStream);
    this.streams.push(log);
    return log;
  }

  receive(bytes: Uint8Array): void {
    try {
      this.connection.receive(bytes);
    } catch (error) {
      this.#violations.push(`receive() threw ${(error as Error).stack}`);
    }
  }

  /** Moves the output of the engine into `output`. */
  collect(): void {
    while (this.connection.hasOutput) {
      if (!this.#toldOutput)
        this.#violations.push("there is output, and onOutput() was not called");
      const bytes = this.connection.take();
      if (bytes === undefined) {
        this.#violations.push("hasOutput, and take() returns nothing");
        return;
      }
      if (bytes.length === 0) this.#violations.push("take() returned an empty view");
      this.output.push(Buffer.from(bytes));
      this.pool.giveBack(bytes);
    }
    this.#toldOutput = false;
  }

  /** Whether takeOutput() would return something. */
  get hasOutput(): boolean {
    return this.output.length > 0 || this.connection.hasOutput;
  }

  /** Collects, and returns the output so far. */
  takeOutput(): Buffer {
    this.collect();
    if (this.output.length < 2) return this.output.pop() ?? NOTHING;
    return Buffer.concat(this.output.splice(0));
  }

  onRequest(
    stream: Http2Stream,
    fields: FieldList,
    endStream: boolean,
  ): StreamListener | undefined {
    this.#notAfterClosed("onRequest");
    const log = new StreamLog(this.#options.hooks ?? {}, { fields, endStream });
    log.stream = stream;
    this.streams.push(log);
    this.#options.onRequest?.(log);
    return log;
  }

  onTooLargeRequest = undefined;

  onOutput(): void {
    this.#notAfterClosed("onOutput");
    if (this.#toldOutput) this.#violations.push("onOutput twice without take() between");
    this.#toldOutput = true;
  }

  onFull(): void {
    this.#notAfterClosed("onFull");
    this.#toldOutput = true;
    this.collect();
    if (this.#options.blocksWhenFull) this.connection.block();
  }

  onSettings(settings: PeerSettings): void {
    this.#notAfterClosed("onSettings");
    this.settings.push({ ...settings });
  }

  onGoaway(code: number, lastStreamId: number, debugData: string): void {
    this.#notAfterClosed("onGoaway");
    this.goaways.push({ code, lastStreamId, debugData });
  }

  onClosed(end: ConnectionEnd): void {
    if (this.end !== undefined) this.#violations.push("onClosed of the connection twice");
    for (const log of this.openStreams) {
      this.#violations.push(`the connection was closed before stream ${log.stream.id}`);
    }
    if (!this.connection.isClosed) this.#violations.push("onClosed while isClosed is false");
    this.end = end;
    this.collect();
  }

  #notAfterClosed(call: string): void {
    if (this.end !== undefined) this.#violations.push(`${call} after onClosed`);
  }
}
