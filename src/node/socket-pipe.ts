import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { BytePipe, PipeListener } from "../connection/byte-pipe.ts";
import { runtime } from "../flow/runtime.ts";

/** Records of TLS are delivered as soon as they are this many bytes: Node reads as much of TCP at once. */
const RECORDS_BYTES = 64 * 1024;

/** Written only to be told when all that was written before has left. */
export const NOTHING = new Uint8Array();

/** While a socket holds this many bytes, later messages wait in their streams, where none waits for those of others. */
const WAITING_BYTES = 128 * 1024;

/**
 * As WAITING_BYTES, over TLS: Node reports no write before the end of the turn of the event loop, also if the kernel has
 * taken it. A turn writes as much.
 */
const TLS_WAITING_BYTES = 512 * 1024;

/** Returns how many bytes a socket holds at most while it is given DATA. */
export function maxWaitingBytesOf(socket: Socket): number {
  return socket instanceof TLSSocket ? TLS_WAITING_BYTES : WAITING_BYTES;
}

/** A connected TCP, TLS or Unix socket as a BytePipe. */
export class SocketPipe implements BytePipe {
  readonly #socket: Socket;
  /** Whether the socket always holds what it is given until a later turn of the event loop, as TLS does. */
  readonly #holdsWrites: boolean;
  #listener: PipeListener | undefined;
  #hasEnded = false;
  #isClosed = false;
  /** Whether destroy() was called: nothing is delivered any more. */
  #isDestroyed = false;
  /** The records of TLS that were received in this turn of the event loop, and are not delivered yet; undefined if none are. */
  #records: Uint8Array[] | undefined;
  #recordsBytes = 0;
  #isDeliveryScheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#holdsWrites = socket instanceof TLSSocket;
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get maxWaitingBytes(): number {
    return maxWaitingBytesOf(this.#socket);
  }

  get waitingBytes(): number {
    // The system may read what a destroyed socket was given until that is closed.
    return this.#isClosed ? 0 : this.#socket.writableLength;
  }

  start(listener: PipeListener): void {
    const socket = this.#socket;
    this.#listener = listener;
    this.#onWritten = () => listener.onWritten();
    socket.on("end", () => this.#endAfterRecords());
    socket.on("error", (error) => this.#end(error));
    socket.on("close", () => {
      this.#isClosed = true;
      this.#end();
      listener.onClosed();
    });
    // The last one: it lets the socket flow.
    if (socket instanceof TLSSocket) socket.on("data", (record) => this.#onRecord(record));
    else socket.on("data", (bytes) => listener.onReceived(bytes));
  }

  /**
   * Delivers the records that come in one turn of the event loop together, as TCP does: what they cause is then written
   * together. Otherwise each record would be answered by one, and both sides would soon write a record for each message.
   */
  #onRecord(record: Uint8Array): void {
    this.#records ??= [];
    this.#records.push(record);
    this.#recordsBytes += record.length;
    if (this.#recordsBytes >= RECORDS_BYTES) this.#deliver();
    else if (!this.#isDeliveryScheduled) {
      this.#isDeliveryScheduled = true;
      setImmediate(deliverScheduled, this);
    }
  }

  /** For deliverScheduled(). */
  deliverNow(): void {
    this.#isDeliveryScheduled = false;
    this.#deliver();
  }

  #deliver(): void {
    const records = this.#records;
    if (records === undefined) return;
    this.#records = undefined;
    this.#recordsBytes = 0;
    for (const record of records) {
      if (this.#isDestroyed) return;
      this.#listener?.onReceived(record);
    }
  }

  /** Ends after what the records cause: the answers to requests that came in the same turn are still sent. */
  #endAfterRecords(): void {
    if (this.#records === undefined) this.#end();
    else {
      this.#deliver();
      runtime.afterMicrotasks(() => this.#end());
    }
  }

  #end(error?: unknown): void {
    if (this.#hasEnded) return;
    this.#deliver();
    this.#hasEnded = true;
    this.#listener?.onEnd(error);
  }

  #onWritten = (): void => {};

  write(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket.destroyed) return false;
    if (this.#holdsWrites) socket.write(bytes, this.#onWritten);
    else {
      // Node would make a tick for the callback also of a write that the kernel has taken already, as it takes most.
      socket.write(bytes);
      if (socket.writableLength > 0) socket.write(NOTHING, this.#onWritten);
    }
    return true;
  }

  pauseReading(): void {
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#socket.destroy();
  }

  keepAlive(isNeeded: boolean): void {
    if (isNeeded) this.#socket.ref();
    else this.#socket.unref();
  }
}

/** One function for all pipes: an idle connection has no closure for it. */
function deliverScheduled(pipe: SocketPipe): void {
  pipe.deliverNow();
}
