/**
 * A gRPC client that uses very little CPU: it writes HTTP/2 frames to a socket, for calls of one method. It counts messages
 * and does not decode them.
 */
import { connect, type Socket } from "node:net";

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;

const FRAME_BYTES = 9;
const PREFIX_BYTES = 5;
const INITIAL_WINDOW_SIZE = 4;
/** The stream window of Hawser's client. */
const STREAM_WINDOW = 256 * 1024;
const CONNECTION_WINDOW = 8 * 1024 * 1024;

/** The listener of a call of a Connection. */
export interface CallOwner {
  /** Called when `count` more messages have become complete. */
  onMessages(count: number): void;
  /** Called when the server has ended the call. */
  onEnd?(): void;
}

class Call {
  readonly id: number;
  readonly owner: CallOwner;
  /** Bytes that were received since the previous WINDOW_UPDATE. */
  unacknowledged = 0;
  #prefix = 0;
  #length = 0;

  constructor(id: number, owner: CallOwner) {
    this.id = id;
    this.owner = owner;
  }

  /** Counts the messages that end in these bytes. */
  receive(bytes: Buffer, from: number, to: number): void {
    let messages = 0;
    let at = from;
    while (at < to) {
      if (this.#prefix < PREFIX_BYTES) {
        const byte = bytes[at++] as number;
        if (this.#prefix++ > 0) this.#length = this.#length * 256 + byte;
        if (this.#prefix < PREFIX_BYTES) continue;
      }
      const taken = Math.min(this.#length, to - at);
      this.#length -= taken;
      at += taken;
      if (this.#length > 0) continue;
      this.#prefix = 0;
      messages++;
    }
    if (messages > 0) this.owner.onMessages(messages);
  }
}

export class Connection {
  readonly #socket: Socket;
  readonly #address: string;
  readonly #path: string;
  readonly #calls = new Map<number, Call>();
  readonly #onLost: (error: Error) => void;
  #nextId = 1;
  #unacknowledged = 0;
  #rest: Buffer = Buffer.alloc(0);
  #waiting: Buffer[] = [];
  #closed = false;

  constructor(address: string, path: string, onLost: (error: Error) => void) {
    this.#address = address;
    this.#path = path;
    this.#onLost = onLost;
    const [host, port] = address.split(":");
    this.#socket = connect({ host, port: Number(port), noDelay: true });
    this.#socket.on("data", (chunk) => this.#receive(chunk));
    this.#socket.on("error", (error) => this.#fail(error.message));
    this.#socket.on("close", () => this.#fail("the connection was closed"));
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(INITIAL_WINDOW_SIZE);
    settings.writeUInt32BE(STREAM_WINDOW, 2);
    this.#write(Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    this.#write(frame(SETTINGS, 0, 0, settings));
    this.#write(frame(WINDOW_UPDATE, 0, 0, uint32(CONNECTION_WINDOW - 65_535)));
  }

  /** Opens a call. With `last` no more requests follow. */
  open(request: Uint8Array, last: boolean, owner: CallOwner): number {
    const id = this.#nextId;
    this.#nextId += 2;
    this.#calls.set(id, new Call(id, owner));
    this.#write(frame(HEADERS, END_HEADERS, id, this.#headers(id === 1)));
    this.send(id, request, last);
    return id;
  }

  send(id: number, request: Uint8Array, last = false): void {
    const message = Buffer.alloc(PREFIX_BYTES + request.length);
    message.writeUInt32BE(request.length, 1);
    message.set(request, PREFIX_BYTES);
    this.#write(frame(DATA, last ? END_STREAM : 0, id, message));
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  /** Encodes request headers: the first request adds them to the peer's HPACK table, later requests refer to them. */
  #headers(first: boolean): Buffer {
    if (!first) return Buffer.from([0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]);
    const text = (value: string) => [value.length, ...Buffer.from(value)];
    return Buffer.from([
      ...[0x83, 0x86],
      ...[0x44, ...text(this.#path)],
      ...[0x41, ...text(this.#address)],
      ...[0x5f, ...text("application/grpc")],
      ...[0x40, ...text("te"), ...text("trailers")],
    ]);
  }

  /** Writes the bytes of one turn of the event loop together. */
  #write(bytes: Buffer): void {
    if (this.#waiting.push(bytes) > 1) return;
    setImmediate(() => {
      const bytes = Buffer.concat(this.#waiting);
      this.#waiting = [];
      if (!this.#socket.destroyed) this.#socket.write(bytes);
    });
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + FRAME_BYTES <= bytes.length) {
      const end = at + FRAME_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      const flags = bytes[at + 4] as number;
      const id = bytes.readUInt32BE(at + 5);
      this.#onFrame(bytes[at + 3] as number, flags, id, bytes, at + FRAME_BYTES, end);
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }

  #onFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const call = this.#calls.get(id);
    if (type === DATA && call !== undefined) this.#onData(call, bytes, from, to);
    else if (type === SETTINGS && (flags & ACK) === 0) this.#write(frame(SETTINGS, ACK, 0));
    else if (type === PING && (flags & ACK) === 0) {
      this.#write(frame(PING, ACK, 0, Buffer.from(bytes.subarray(from, to))));
    } else if (type === RST_STREAM || type === GOAWAY) {
      this.#fail(`the server sent ${type === GOAWAY ? "GOAWAY" : "RST_STREAM"}`);
    }
    if ((type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0) {
      this.#calls.delete(id);
      call?.owner.onEnd?.();
    }
  }

  #onData(call: Call, bytes: Buffer, from: number, to: number): void {
    call.unacknowledged += to - from;
    this.#unacknowledged += to - from;
    if (call.unacknowledged * 2 > STREAM_WINDOW) {
      this.#write(frame(WINDOW_UPDATE, 0, call.id, uint32(call.unacknowledged)));
      call.unacknowledged = 0;
    }
    if (this.#unacknowledged * 2 > CONNECTION_WINDOW) {
      this.#write(frame(WINDOW_UPDATE, 0, 0, uint32(this.#unacknowledged)));
      this.#unacknowledged = 0;
    }
    call.receive(bytes, from, to);
  }

  #fail(why: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onLost(new Error(`${this.#path}: ${why}`));
  }
}

function frame(
  type: number,
  flags: number,
  id: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const bytes = Buffer.alloc(FRAME_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(id, 5);
  bytes.set(payload, FRAME_BYTES);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
