import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { Inbox, type InboxSource } from "../flow/inbox.ts";
import { runtime } from "../flow/runtime.ts";
import { EARNED_BY_CALL } from "../http2/abuse.ts";
import { ENHANCE_YOUR_CALM, INTERNAL_ERROR } from "../http2/frames.ts";
import type { Http2Stream, StreamEnd, StreamListener } from "../http2/types.ts";
import type { ConnectionMemory } from "./connection-memory.ts";
import { type BodyKind, MessageMeter } from "./message-meter.ts";
import type { BudgetedStream } from "./receive-budget.ts";
import { ReceiveWindow, type WindowOwner } from "./receive-window.ts";
import type { ServedConnection } from "./served-connection.ts";
import { stopReadingSoon } from "./stop-reading.ts";

/** The reason with which the signal aborts when the response was sent. */
const OVER = failure(Code.Canceled, "the request was answered");

/** Fields of an HTTP/1.1 connection, which HTTP/2 does not allow (RFC 9113, 8.2.2). */
const OF_CONNECTIONS = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/**
 * A request of HTTP/2 that is not gRPC, and its response: bytes in both directions. The body is read no faster than it is
 * iterated, and write() makes the writer wait for a client that does not read.
 */
export class HttpExchange
  implements StreamListener, BudgetedStream, WindowOwner, InboxSource<Uint8Array, Uint8Array>
{
  readonly #stream: Http2Stream;
  readonly #connection: ServedConnection;
  readonly memory: ConnectionMemory;
  readonly #window: ReceiveWindow;
  readonly #inbox: Inbox<Uint8Array, Uint8Array>;
  readonly #abort = new AbortController();
  #drained: PromiseWithResolvers<void> | undefined;
  /** Why this side has reset the stream, if it has. */
  #resetReason: ConnectError | undefined;
  #closed: ConnectError | undefined;
  /** The part of `heldBytes` that was counted, and the part of that which waits to be sent. */
  #countedBytes = 0;
  countedWaitingBytes = 0;
  /** The parts of the body that were not taken, and their bytes. */
  untaken = 0;
  #untakenBytes = 0;
  /** Measures the parts that were taken. */
  readonly #meter: MessageMeter;
  #isIncomplete = false;
  /** Whether nobody waits for the rest of a message: the body has ended, or its reader has left. */
  #isOver = false;
  progress = 0;
  rosterIndex = -1;
  /** Called when the stream is closed, however it ended. */
  onEnded: (() => void) | undefined;

  constructor(
    stream: Http2Stream,
    connection: ServedConnection,
    { kind, memory }: { kind: BodyKind; memory: ConnectionMemory },
  ) {
    this.#stream = stream;
    this.#connection = connection;
    this.#meter = new MessageMeter(kind);
    this.#inbox = new Inbox<Uint8Array, Uint8Array>(this, "the body of a request");
    this.memory = memory;
    this.#window = new ReceiveWindow(this);
    this.#window.attach(stream);
    this.memory.add(this);
  }

  /** The body of the request. If the iteration is left before its end, the rest is dropped. */
  get body(): AsyncIterable<Uint8Array> {
    return this.#inbox;
  }

  /** Aborts when the stream is closed, with the reason: CANCELED if the client has cancelled it, or its connection was lost. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Sends the response headers. Resolves when the body may be sent. Does nothing if the stream is closed. */
  async sendHeaders(status: number, headers: Headers | undefined): Promise<void> {
    this.#stream.sendHeaders([":status", String(status), ...fieldsOf(headers)]);
    await new Promise<void>((resolve) => this.#connection.afterHeaders(resolve));
  }

  /** Tells a client that has sent `expect: 100-continue` to send the body. */
  sendContinue(): void {
    this.#stream.sendHeaders([":status", "100"]);
  }

  /** Sends a part of the response. Returns a promise while the client takes no more. Throws once the stream is closed. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#closed !== undefined) throw this.#closed;
    if (this.#stream.write(bytes)) return undefined;
    this.recount();
    this.#drained ??= Promise.withResolvers();
    return this.#drained.promise;
  }

  /** Ends the response. A client that has not sent all of the request is asked to stop. */
  end(trailers: Headers | undefined): void {
    const fields = fieldsOf(trailers);
    this.#stream.end(fields.length === 0 ? undefined : fields);
    this.#inbox.return();
    this.#endCount();
    stopReadingSoon(this.#stream);
  }

  /** Ends the response with an error, when it is too late for a status. */
  fail(reason: ConnectError): void {
    this.#reset(INTERNAL_ERROR, reason);
  }

  #reset(code: number, reason: ConnectError): void {
    this.#resetReason = reason;
    this.#stream.reset(code);
  }

  // InboxSource: called by the inbox.

  open(chunk: Uint8Array): Uint8Array {
    if (!this.#isOver) this.#meter.push(chunk);
    this.#onTaken(chunk);
    return chunk;
  }

  drop(chunk: Uint8Array): void {
    this.#onTaken(chunk);
  }

  onLeave(): void {
    this.#endCount();
  }

  /** Counts no incomplete message any more. */
  #endCount(): void {
    this.#isOver = true;
    this.#meter.clear();
    this.settle();
  }

  #onTaken(chunk: Uint8Array): void {
    this.untaken--;
    this.#untakenBytes -= chunk.length;
    this.progress++;
    this.settle();
  }

  // StreamListener: called by the engine.

  onHeaders(): void {}

  onData(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    const chunk = runtime.allocate(end - start);
    chunk.set(bytes.subarray(start, end));
    this.untaken++;
    this.#untakenBytes += chunk.length;
    this.#inbox.put(chunk);
    this.recount();
  }

  onTrailers(): void {}

  onEnd(): void {
    this.#endCount();
    this.#inbox.close();
  }

  onDrain(): void {
    this.progress++;
    this.recount();
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  onClosed(end: StreamEnd): void {
    const reason = end.by === "ended" ? OVER : (this.#resetReason ?? this.#connection.lossOf(end));
    this.#closed = reason;
    // Without this, an answered request whose body nobody has read would keep its bytes.
    this.#inbox.fail(reason);
    this.#drained?.reject(reason);
    this.#abort.abort(reason);
    this.#endCount();
    this.#window.close();
    this.memory.remove(this);
    if (end.by === "ended") this.#stream.connection.earn(EARNED_BY_CALL);
    this.#connection.onStreamClosed();
    this.onEnded?.();
  }

  // BudgetedStream: called by the budgets.

  get heldBytes(): number {
    if (this.#closed !== undefined) return 0;
    return this.#untakenBytes + this.partialBytes + this.waitingBytes;
  }

  get partialBytes(): number {
    return this.#meter.partialBytes;
  }

  get waitingBytes(): number {
    return this.#stream.waitingBytes;
  }

  get hasCredit(): boolean {
    return this.#window.hasCredit;
  }

  recount(): void {
    const more = this.heldBytes - this.#countedBytes;
    const waitingBytes = this.#closed === undefined ? this.waitingBytes : 0;
    const moreWaiting = waitingBytes - this.countedWaitingBytes;
    if (more === 0 && moreWaiting === 0) return;
    this.#countedBytes += more;
    this.countedWaitingBytes = waitingBytes;
    this.memory.count(more, moreWaiting);
  }

  shrinkWindow(): void {
    this.#window.shrink();
  }

  shrinkIdleWindow(): void {
    this.#window.shrinkIdle();
  }

  settle(): void {
    this.recount();
    const { memory } = this;
    const isIncomplete = this.partialBytes > 0;
    if (isIncomplete !== this.#isIncomplete) {
      this.#isIncomplete = isIncomplete;
      if (isIncomplete) memory.onIncomplete(this);
      else memory.onComplete(this);
    }
    const keptBytes = this.#untakenBytes + (memory.mayComplete(this) ? 0 : this.partialBytes);
    const bytes = this.#stream.unreturnedBytes - keptBytes;
    if (bytes > 0) this.#window.returnCredit(bytes);
  }

  endOverBudget(error: ConnectError): void {
    this.#reset(ENHANCE_YOUR_CALM, error);
  }
}

function fieldsOf(headers: Headers | undefined): string[] {
  const fields: string[] = [];
  headers?.forEach((value, name) => {
    if (name === "set-cookie" || OF_CONNECTIONS.has(name)) return;
    fields.push(name, value);
  });
  for (const cookie of headers?.getSetCookie() ?? []) fields.push("set-cookie", cookie);
  return fields;
}
