import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { Inbox, type InboxSource } from "../flow/inbox.ts";
import { runtime } from "../flow/runtime.ts";
import { EARNED_BY_CALL } from "../http2/abuse.ts";
import { ENHANCE_YOUR_CALM, INTERNAL_ERROR } from "../http2/frames.ts";
import type { Http2Stream, StreamEnd, StreamListener } from "../http2/types.ts";
import { type BudgetedStream, FIRST_WINDOW_BYTES } from "./receive-budget.ts";
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
  implements StreamListener, BudgetedStream, InboxSource<Uint8Array, Uint8Array>
{
  readonly #stream: Http2Stream;
  readonly #connection: ServedConnection;
  readonly #inbox: Inbox<Uint8Array, Uint8Array>;
  readonly #abort = new AbortController();
  #drained: PromiseWithResolvers<void> | undefined;
  /** Why this side has reset the stream, if it has. */
  #resetReason: ConnectError | undefined;
  #closed: ConnectError | undefined;
  /** The part of `heldBytes` that was counted. */
  #countedBytes = 0;
  /** The parts of the body that were not taken. */
  untaken = 0;
  /** No part of a body waits for the rest. */
  readonly partialBytes = 0;
  progress = 0;
  /** Called when the stream is closed, however it ended. */
  onEnded: (() => void) | undefined;

  constructor(stream: Http2Stream, connection: ServedConnection) {
    this.#stream = stream;
    this.#connection = connection;
    this.#inbox = new Inbox<Uint8Array, Uint8Array>(this, "the body of a request");
    connection.memory.add(this);
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
    this.#onTaken(chunk);
    return chunk;
  }

  drop(chunk: Uint8Array): void {
    this.#onTaken(chunk);
  }

  #onTaken(chunk: Uint8Array): void {
    this.untaken--;
    this.progress++;
    this.#stream.returnCredit(chunk.length);
    this.recount();
  }

  // StreamListener: called by the engine.

  onHeaders(): void {}

  onData(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    const chunk = runtime.allocate(end - start);
    chunk.set(bytes.subarray(start, end));
    this.untaken++;
    this.#inbox.put(chunk);
    this.recount();
  }

  onTrailers(): void {}

  onEnd(): void {
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
    this.recount();
    this.#connection.memory.remove(this);
    if (end.by === "ended") this.#stream.connection.earn(EARNED_BY_CALL);
    this.#connection.onStreamClosed();
    this.onEnded?.();
  }

  // BudgetedStream: called by the budgets.

  get heldBytes(): number {
    return this.#closed === undefined ? this.#stream.unreturnedBytes + this.waitingBytes : 0;
  }

  get waitingBytes(): number {
    return this.#stream.waitingBytes;
  }

  get hasCredit(): boolean {
    return this.#stream.unreturnedBytes < FIRST_WINDOW_BYTES;
  }

  recount(): void {
    const more = this.heldBytes - this.#countedBytes;
    if (more === 0) return;
    this.#countedBytes += more;
    this.#connection.memory.count(more);
  }

  /** The window does not grow. */
  shrinkWindow(): void {}

  /** There are no incomplete messages. */
  settle(): void {}

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
