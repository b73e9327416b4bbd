import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { SUBPROTOCOL } from "./web-socket-pipe.ts";

/** The headers of a request that opens a WebSocket. One that is `undefined` is left out. */
export function upgradeHeaders(
  more: Record<string, string | undefined> = {},
): Record<string, string | undefined> {
  return {
    host: "127.0.0.1",
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": SUBPROTOCOL,
    ...more,
  };
}

/** The text of a request of HTTP/1.1 without a body. */
export function requestText(
  path: string,
  headers: Record<string, string | undefined>,
  method = "GET",
): string {
  const lines = Object.entries(headers)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** A frame of a client (RFC 6455, 5.2). */
export interface Frame {
  readonly opcode: number;
  readonly payload?: Uint8Array;
  /** Default: true. */
  readonly fin?: boolean;
  /** Default: true, as the RFC demands of clients. */
  readonly isMasked?: boolean;
}

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** Encodes a frame; the mask is zero. */
export function frame({ opcode, payload = Buffer.alloc(0), fin = true, isMasked = true }: Frame) {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + extended + (isMasked ? 4 : 0));
  head[0] = (fin ? 0x80 : 0) | opcode;
  head[1] = (isMasked ? 0x80 : 0) | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) head.writeUInt16BE(length, 2);
  if (extended === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** A client of TCP that writes what it likes. */
export interface RawClient extends Disposable {
  readonly socket: Socket;
  /** What was received so far. */
  readonly received: Buffer;
  /** Resolves with all that was received, when the connection is closed. */
  readonly closed: Promise<Buffer>;
}

export async function rawClient(url: string): Promise<RawClient> {
  const { hostname, port } = new URL(url);
  const chunks: Buffer[] = [];
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  socket.on("data", (chunk) => chunks.push(chunk));
  const closed = new Promise<Buffer>((resolve) =>
    socket.on("close", () => resolve(Buffer.concat(chunks))),
  );
  await once(socket, "connect");
  return {
    socket,
    closed,
    get received() {
      return Buffer.concat(chunks);
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

/** Opens a WebSocket at "/hawser", whose frames the test writes itself. */
export async function rawWebSocket(
  url: string,
  headers: Record<string, string> = {},
): Promise<RawClient> {
  const client = await rawClient(url);
  client.socket.write(requestText("/hawser", upgradeHeaders(headers)));
  await once(client.socket, "data");
  return client;
}

/** Returns the code of the close frame that stands in what a server has sent after its response headers. */
export function closeCodeIn(received: Buffer): number | undefined {
  return framesIn(received)
    .find(({ opcode }) => opcode === CLOSE)
    ?.payload?.readUInt16BE(0);
}

/** Returns the frames that a server has sent after its response headers. */
export function framesIn(received: Buffer): ReceivedFrame[] {
  return [...framesFrom(received, received.indexOf(HEAD_END) + HEAD_END.length)];
}

const HEAD_END = "\r\n\r\n";

/** A frame that a server has sent: it has no mask. */
interface ReceivedFrame {
  readonly opcode: number;
  readonly payload: Buffer;
  /** Where the next frame begins. */
  readonly end: number;
}

/** The frames that are complete. */
function* framesFrom(bytes: Buffer, begin: number): Generator<ReceivedFrame> {
  for (let at = begin; at + 2 <= bytes.length; ) {
    const short = (bytes[at + 1] as number) & 0x7f;
    const extended = short < 126 ? 0 : short === 126 ? 2 : 8;
    const content = at + 2 + extended;
    if (content > bytes.length) return;
    const length =
      extended === 0
        ? short
        : bytes.readUIntBE(content - (extended === 2 ? 2 : 6), extended === 2 ? 2 : 6);
    const end = content + length;
    if (end > bytes.length) return;
    yield { opcode: (bytes[at] as number) & 0xf, payload: bytes.subarray(content, end), end };
    at = end;
  }
}

/** Takes the binary messages out of what a server sends: its response to the request for the WebSocket, and frames. */
export class MessageSplitter {
  #rest: Buffer = Buffer.alloc(0);
  /** Whether the server has answered the request. */
  hasAnswer = false;

  /** Returns the messages that are complete now. */
  read(chunk: Buffer): Buffer[] {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    if (!this.hasAnswer) {
      at = bytes.indexOf(HEAD_END) + HEAD_END.length;
      this.hasAnswer = at >= HEAD_END.length;
    }
    const messages: Buffer[] = [];
    if (this.hasAnswer) {
      for (const { opcode, payload, end } of framesFrom(bytes, at)) {
        if (opcode === BINARY) messages.push(payload);
        at = end;
      }
    }
    this.#rest = this.hasAnswer ? bytes.subarray(at) : bytes;
    return messages;
  }
}
