/** Both ends of a simulated call: as client-call.ts and server-call.ts, with applications that the test controls. */
import { Code, ConnectError } from "@connectrpc/connect";
import type {
  ClientCallListener,
  ClientCallStream,
  HeaderList,
  Outcome,
  Received,
  ServerStreamListener,
} from "../../src/call-stream.ts";
import { failure } from "../../src/failure.ts";
import { statusTrailers } from "../../src/grpc/status.ts";
import type { ClientSession } from "../../src/session/client-session.ts";
import type { ServerSession } from "../../src/session/server-session.ts";
import type { Fields } from "./session-sim-wire.ts";

/** The headers of every response. */
export const BASE: Fields = { ":status": 200, "content-type": "application/grpc" };

/** The header that a handler sets, and its value. */
export const CUSTOM = { name: "x-handler", value: "was here" };

/** A message: no two of more than four bytes are alike. */
export function message(index: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size).fill(index * 31 + 7);
  for (let at = 0; at < Math.min(size, 4); at++) bytes[at] = index >>> (8 * at);
  return bytes;
}

/** The application of one side: it sends one message after the other, and takes received messages when the test says so. */
export abstract class SimApp {
  /** The messages that it has handed to the session, in order. */
  readonly written: Uint8Array[] = [];
  /** The messages that the session has handed to the application, which has taken the first `taken` of them. */
  readonly got: Uint8Array[] = [];
  taken = 0;
  /** The count of its messages that this side knows to have arrived. */
  acknowledged = 0;
  /** The count of messages that this side has acknowledged, and since when it has taken more. */
  told = 0;
  owesSinceMs: number | undefined;
  tookMs = Number.NEGATIVE_INFINITY;
  /** The messages that it means to send. */
  #sizes: number[] = [];
  #closing = false;
  #blocked = false;
  #closed = false;

  protected abstract readonly carrier: {
    write(flags: number, payload: Uint8Array): Promise<void> | undefined;
    taken(bytes: number): void;
  };
  /** Checks the counts when a message is about to be written. */
  onWrite: (() => void) | undefined;
  /** Faults of the session. A throw would look like a protocol error. */
  readonly bugs: string[] = [];

  /** Whether it waits for the window. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Whether it has announced that no message follows. */
  get hasClosed(): boolean {
    return this.#closed;
  }

  /** Bytes and messages that arrived and were not taken. */
  get held(): { bytes: number; messages: number } {
    return sum(this.got.slice(this.taken));
  }

  /** Bytes and messages that were written and are not acknowledged. */
  get kept(): { bytes: number; messages: number } {
    return sum(this.written.slice(this.acknowledged));
  }

  /** This side acknowledges `count` messages. */
  onTold(count: number): void {
    if (count > this.taken)
      this.bugs.push(`${count} acknowledged of ${this.taken} that were taken`);
    this.told = Math.max(this.told, count);
    if (this.told >= this.taken) this.owesSinceMs = undefined;
  }

  onAcknowledged(count: number): void {
    this.acknowledged = Math.max(this.acknowledged, count);
  }

  send(count: number, size: number): void {
    if (this.#closing) return;
    for (let n = 0; n < count; n++) this.#sizes.push(size);
    this.go();
  }

  /** Has it close its side after the messages that it means to send. */
  close(): void {
    this.#closing = true;
    this.go();
  }

  take(count: number, nowMs: number): void {
    if (!this.takes) return;
    if (count > 0 && this.taken < this.got.length) this.owesSinceMs ??= nowMs;
    for (let n = 0; n < count && this.taken < this.got.length; n++) {
      const { length } = this.got[this.taken++] as Uint8Array;
      this.tookMs = nowMs;
      this.carrier.taken(length);
    }
  }

  /** Continues to send, as far as the window allows. */
  go(): void {
    while (this.running && this.ready && !this.#blocked) {
      const size = this.#sizes.shift();
      if (size === undefined) {
        if (this.#closing && !this.#closed) {
          this.#closed = true;
          this.closeSide();
        }
        break;
      }
      const payload = message(this.written.length, size);
      this.beforeWrite();
      this.onWrite?.();
      this.written.push(payload);
      const room = this.carrier.write(0, payload);
      if (room !== undefined) this.#wait(room);
    }
  }

  /** Sends nothing more. */
  protected drop(): void {
    this.#sizes = [];
  }

  /** Whether the call continues. */
  abstract get running(): boolean;
  /** Whether the application may still take received messages. */
  protected abstract get takes(): boolean;
  /** Whether it may send already. */
  protected abstract get ready(): boolean;
  protected abstract closeSide(): void;
  /** Sends the handler's headers, before its first message. */
  protected beforeWrite(): void {}

  protected keep({ bytes, start, end }: Received): void {
    this.got.push(bytes.slice(start, end));
  }

  #wait(room: Promise<void>): void {
    this.#blocked = true;
    const goOn = () => {
      this.#blocked = false;
      this.go();
    };
    room.then(goOn, goOn);
  }
}

/** How the call ended for the client. */
export type ClientOutcome =
  | { readonly is: "running" }
  /** The server's status. */
  | { readonly is: "status"; readonly status: "ok" | ConnectError }
  /** The session was lost, or never began. */
  | { readonly is: "failed"; readonly error: ConnectError }
  | { readonly is: "cancelled" };

/** The client's side of a call. */
export class ClientApp extends SimApp implements ClientCallListener {
  session!: ClientSession;
  outcome: ClientOutcome = { is: "running" };
  head: HeaderList | undefined;
  trailer: HeaderList = {};
  #open = false;

  get running(): boolean {
    return this.outcome.is === "running";
  }

  cancel(): void {
    if (!this.running) return;
    this.#finish({ is: "cancelled" }, failure(Code.Canceled, "the caller cancelled"));
  }

  get isOver(): boolean {
    return !this.running;
  }

  onStream(_stream: ClientCallStream): void {}

  onOpen(): void {
    if (this.#open) this.bugs.push("onOpen() came twice");
    this.#open = true;
    this.go();
  }

  onHeaders(headers: HeaderList): void {
    if (!this.running) this.bugs.push("headers came after the end");
    if (this.head !== undefined) this.bugs.push("onHeaders() came twice");
    if (this.got.length > 0) this.bugs.push("a message came before the headers");
    this.head = headers;
  }

  onMessage(message: Received): void {
    if (!this.running) this.bugs.push("a message came after the end");
    if (this.head === undefined) this.bugs.push("a message came before the headers");
    this.keep(message);
  }

  onInvalid(error: ConnectError): void {
    this.onFailed(error);
  }

  onFailed(error: ConnectError): void {
    if (!this.running) this.bugs.push("the call ended twice");
    this.#finish({ is: "failed", error }, error);
  }

  onClosed(outcome: Outcome): void {
    if (outcome.is !== "ended") {
      this.onFailed(outcome.error as ConnectError);
      return;
    }
    if (!this.running) this.bugs.push("the call ended twice");
    const { status, trailers } = outcome;
    this.trailer = trailers;
    const stopped = failure(Code.FailedPrecondition, "the server has ended the call");
    this.#finish({ is: "status", status }, status === "ok" ? stopped : status);
  }

  protected get carrier() {
    return this.session;
  }

  protected get ready(): boolean {
    return this.#open;
  }

  protected get takes(): boolean {
    return this.outcome.is !== "cancelled";
  }

  protected closeSide(): void {
    this.session.endSend();
  }

  #finish(outcome: ClientOutcome, stopped: ConnectError): void {
    this.outcome = outcome;
    this.drop();
    this.session.reset(stopped);
  }
}

/** How the call ended for the handler. */
export type ServerOutcome =
  | { readonly is: "running" }
  /** The application or the server ended the call: with this error, or without one. */
  | { readonly is: "ended"; readonly error: ConnectError | undefined }
  | { readonly is: "lost"; readonly error: ConnectError };

/** The server's side of a call, and its handler. */
export class ServerApp extends SimApp implements ServerStreamListener {
  session!: ServerSession;
  #headersSent = false;
  outcome: ServerOutcome = { is: "running" };
  halfClosed = false;
  /** Whether the call has no session any more. */
  closed = false;
  /** Whether the server process has ended. */
  dead = false;
  /** Whether the server gave the session up. */
  gaveUp = false;

  get running(): boolean {
    return this.outcome.is === "running" && !this.dead;
  }

  /** Has the handler set its headers, now. */
  respond(): void {
    if (this.running) this.#sendHeaders();
  }

  /** Ends the session: the call gives it up. */
  giveUp(): void {
    this.gaveUp = true;
    this.session.reset();
  }

  /** Has the handler throw. */
  fail(error: ConnectError): void {
    this.#finish(error);
  }

  onMessage(message: Received): void {
    if (this.halfClosed) this.bugs.push("a message came after the half-close");
    if (!this.running) this.bugs.push("a message came after the end");
    this.keep(message);
  }

  onHalfClose(): void {
    if (this.halfClosed) this.bugs.push("the half-close came twice");
    this.halfClosed = true;
  }

  onInvalid(error: ConnectError): void {
    this.#finish(error);
  }

  onClosed(outcome: Outcome): void {
    if (this.closed) this.bugs.push("the call was closed twice");
    this.closed = true;
    if (outcome.is === "ended") return;
    const error = outcome.error as ConnectError;
    if (!this.running) this.bugs.push("the call was lost after its end");
    this.outcome = { is: "lost", error };
    this.drop();
  }

  #sendHeaders(): void {
    if (this.#headersSent) return;
    this.#headersSent = true;
    this.session.sendHeaders({ ...BASE, [CUSTOM.name]: CUSTOM.value });
  }

  protected get carrier() {
    return this.session;
  }

  protected get ready(): boolean {
    return true;
  }

  protected get takes(): boolean {
    return this.running;
  }

  protected override beforeWrite(): void {
    this.#sendHeaders();
  }

  protected closeSide(): void {
    this.#finish(undefined);
  }

  #finish(error: ConnectError | undefined): void {
    if (!this.running) return;
    this.outcome = { is: "ended", error };
    this.#sendHeaders();
    const trailers = statusTrailers(error, undefined) as HeaderList;
    this.session.endSend({ status: error ?? "ok", trailers });
    this.drop();
  }
}

function sum(messages: readonly Uint8Array[]): { bytes: number; messages: number } {
  let bytes = 0;
  for (const { length } of messages) bytes += length;
  return { bytes, messages: messages.length };
}

/** The text of an application's error, for the trace. */
export const brief = (error: unknown): string =>
  error instanceof ConnectError ? `${Code[error.code]}: ${error.rawMessage}` : String(error);
