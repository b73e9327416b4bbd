/** A WebSocket client that uses very little CPU: it reads and writes unfragmented text frames on a socket. */
import { connect, type Socket } from "node:net";

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const LAST = 0x80;

const HEAD_END = "\r\n\r\n";

/** The listener of a WebSocket. */
export interface WebSocketOwner {
  /** Called with a text, which is in `bytes` only until the function returns. */
  onText(bytes: Buffer, from: number, to: number): void;
  onLost(error: Error): void;
}

export class WebSocketClient {
  readonly #socket: Socket;
  readonly #owner: WebSocketOwner;
  #rest: Buffer = Buffer.alloc(0);
  #upgraded = false;
  /** The texts that were sent before the server answered. */
  #early: string[] = [];
  #closed = false;

  constructor(address: string, path: string, owner: WebSocketOwner) {
    this.#owner = owner;
    const [host, port] = address.split(":");
    this.#socket = connect({ host, port: Number(port), noDelay: true });
    this.#socket.on("data", (chunk) => this.#receive(chunk));
    this.#socket.on("error", (error) => this.#fail(error.message));
    this.#socket.on("close", () => this.#fail("the connection was closed"));
    this.#socket.write(
      [
        `GET ${path} HTTP/1.1`,
        `Host: ${address}`,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        HEAD_END.slice(2),
      ].join("\r\n"),
    );
  }

  send(text: string): void {
    if (this.#upgraded) this.#send(TEXT, Buffer.from(text));
    else this.#early.push(text);
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  /** Sends a masked frame, as RFC 6455 requires of clients. The key is zero, so that the bytes stay unchanged. */
  #send(opcode: number, payload: Buffer): void {
    const isLong = payload.length > 125;
    const head = Buffer.alloc(isLong ? 8 : 6);
    head[0] = LAST | opcode;
    head[1] = 0x80 | (isLong ? 126 : payload.length);
    if (isLong) head.writeUInt16BE(payload.length, 2);
    this.#socket.write(Buffer.concat([head, payload]));
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    if (!this.#upgraded) {
      const end = bytes.indexOf(HEAD_END);
      if (end < 0) {
        this.#rest = bytes;
        return;
      }
      const [status] = bytes.toString("latin1", 0, end).split("\r\n");
      if (!status?.includes(" 101 ")) this.#fail(`the server answered ${status}`);
      this.#upgraded = true;
      at = end + HEAD_END.length;
      for (const text of this.#early.splice(0)) this.send(text);
    }
    while (at + 2 <= bytes.length) {
      let from = at + 2;
      let length = (bytes[at + 1] as number) & 0x7f;
      if (length === 126) {
        if (from + 2 > bytes.length) break;
        length = bytes.readUInt16BE(from);
        from += 2;
      } else if (length === 127) {
        if (from + 8 > bytes.length) break;
        length = Number(bytes.readBigUInt64BE(from));
        from += 8;
      }
      const to = from + length;
      if (to > bytes.length) break;
      this.#onFrame((bytes[at] as number) & 0x0f, bytes, from, to);
      at = to;
    }
    this.#rest = bytes.subarray(at);
  }

  #onFrame(opcode: number, bytes: Buffer, from: number, to: number): void {
    if (opcode === PING) this.#send(PONG, Buffer.from(bytes.subarray(from, to)));
    else if (opcode === CLOSE) this.#fail("the server closed the WebSocket");
    else this.#owner.onText(bytes, from, to);
  }

  #fail(why: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#owner.onLost(new Error(why));
  }
}
