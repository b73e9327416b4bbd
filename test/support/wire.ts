import { once } from "node:events";
import { connect, type Socket } from "node:net";
import * as tls from "node:tls";
import { type Frame, FrameSplitter } from "./frame-splitter.ts";
import { encodeHeaders, type Header, HeaderDecoder } from "./hpack.ts";

/** Frame types of RFC 9113. */
export const Type = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
  /** No such frame is defined; a peer must ignore it. */
  UNKNOWN: 0xee,
} as const;

export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;

/** Error codes of RFC 9113, for RST_STREAM and GOAWAY. */
export const Http2Code = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

const WIDEST_WINDOW = 2 ** 31 - 1;

// ---- Frames as bytes. They are not checked, so that tests can write wrong ones.

export function frame(type: number, flags: number, stream: number, payload = NOTHING): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const NOTHING: Uint8Array = Buffer.alloc(0);

export function headers(stream: number, list: readonly Header[], end = false): Buffer {
  const flags = Flag.END_HEADERS | (end ? Flag.END_STREAM : 0);
  return frame(Type.HEADERS, flags, stream, encodeHeaders(list));
}

export function data(stream: number, payload: Uint8Array = NOTHING, end = false): Buffer {
  return frame(Type.DATA, end ? Flag.END_STREAM : 0, stream, payload);
}

export function rst(stream: number, code: number): Buffer {
  return frame(Type.RST_STREAM, 0, stream, uint32(code));
}

export function goaway(lastStream: number, code: number, debug = ""): Buffer {
  return frame(
    Type.GOAWAY,
    0,
    0,
    Buffer.concat([uint32(lastStream), uint32(code), Buffer.from(debug)]),
  );
}

export function settings(values: Readonly<Record<number, number>> = {}): Buffer {
  const payload = Object.entries(values).map(([id, value]) => {
    const entry = Buffer.alloc(6);
    entry.writeUInt16BE(Number(id), 0);
    entry.writeUInt32BE(value, 2);
    return entry;
  });
  return frame(Type.SETTINGS, 0, 0, Buffer.concat(payload));
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(Type.WINDOW_UPDATE, 0, stream, uint32(increment));
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A gRPC message: flag, length, bytes. The length may be wrong. */
export function envelope(payload: Uint8Array, flags = 0, length = payload.length): Buffer {
  return Buffer.concat([Buffer.of(flags), uint32(length), payload]);
}

/** The messages of a body, unframed; throws if the body is not complete. */
export function messages(body: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (end > body.length) throw new Error(`a message ends at ${end} of ${body.length} B`);
    found.push(body.subarray(at + 5, end));
    at = end;
  }
  return found;
}

// ---- A peer.

export type Fields = Readonly<Record<string, string>>;

/** The bytes and frames of one stream so far. */
export class Incoming {
  headers: Fields | undefined;
  trailers: Fields | undefined;
  /** Whether END_STREAM has arrived. */
  ended = false;
  /** The code of RST_STREAM, once it has arrived. */
  reset: number | undefined;
  /** How many bytes of DATA have arrived. */
  bytes = 0;
  readonly chunks: Buffer[] = [];

  get body(): Buffer {
    return Buffer.concat(this.chunks);
  }

  /** The grpc-status of the trailers, or of the headers if there are no trailers. */
  get status(): number | undefined {
    const value = (this.trailers ?? this.headers)?.["grpc-status"];
    return value === undefined ? undefined : Number(value);
  }

  get message(): string {
    return decodeURIComponent((this.trailers ?? this.headers)?.["grpc-message"] ?? "");
  }
}

export interface PeerOptions {
  /** The values of the first SETTINGS frame; windows have their largest size unless it has others. */
  settings?: Readonly<Record<number, number>>;
  /** Sends only what the test writes, and answers neither SETTINGS nor PING. */
  mute?: boolean;
  /** The loopback address from which dial() connects. Default: the system chooses it. */
  localAddress?: string;
}

/**
 * One end of an HTTP/2 connection that sends exactly the bytes that the test writes, and notes the frames that arrive. It answers
 * SETTINGS and PING, and opens its windows wide; all else is up to the test.
 */
export class Peer implements AsyncDisposable {
  readonly socket: Socket;
  /** Every frame that has arrived, in order. */
  readonly frames: Frame[] = [];
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  /** Called for each HEADERS frame that opens a stream. */
  onStream: (stream: number, incoming: Incoming) => void = () => {};
  /** The first half of the payload of its pings. Those of Hawser's clients begin with "haws". */
  pingsAs = "test";
  readonly #options: PeerOptions;
  readonly #streams = new Map<number, Incoming>();
  readonly #decoder = new HeaderDecoder();
  readonly #waiting = new Set<() => void>();
  readonly #windows = new Map<number, number>([[0, 65_535]]);
  #initialWindow = 65_535;
  readonly #splitter: FrameSplitter;
  #block: Buffer[] = [];
  #pings = 0;

  constructor(socket: Socket, role: "client" | "server", options: PeerOptions = {}) {
    this.socket = socket;
    this.#options = options;
    this.#splitter = new FrameSplitter(role === "server" ? PREFACE.length : 0);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        resolve();
        this.#changed();
      });
    });
    socket.on("data", (chunk) => this.#read(chunk));
    if (!options.mute) {
      if (role === "client") this.write(PREFACE);
      this.write(
        settings({ 4: WIDEST_WINDOW, ...options.settings }),
        windowUpdate(0, WIDEST_WINDOW - 65_535),
      );
    }
  }

  /** Writes all parts in one call: they arrive together, as far as TCP does that. */
  write(...parts: Uint8Array[]): void {
    this.#send(parts);
  }

  /** The headers, bytes and end that have arrived on a stream. */
  stream(id: number): Incoming {
    let incoming = this.#streams.get(id);
    if (incoming === undefined) {
      incoming = new Incoming();
      this.#streams.set(id, incoming);
    }
    return incoming;
  }

  /** Resolves with the condition's value when it is neither undefined nor false; rejects if the connection ends before. */
  until<T>(condition: () => T | undefined | false): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const check = () => {
      const value = condition();
      if (value !== undefined && value !== false) resolve(value);
      else if (this.socket.closed) reject(new Error(`the connection ended; ${this.#received()}`));
      else return;
      this.#waiting.delete(check);
    };
    this.#waiting.add(check);
    check();
    promise.catch(() => {});
    return promise;
  }

  /** Resolves with the first frame of a type (on a stream), as soon as it has arrived. */
  frame(type: number, stream?: number): Promise<Frame> {
    return this.until(() =>
      this.frames.find((f) => f.type === type && (stream === undefined || f.stream === stream)),
    );
  }

  /** Resolves when a stream has ended or was reset, with all that arrived on it. */
  ended(id: number): Promise<Incoming> {
    const incoming = this.stream(id);
    return this.until(() => (incoming.ended || incoming.reset !== undefined) && incoming);
  }

  /** Resolves with the code once the other side has reset the stream. */
  reset(id: number): Promise<number> {
    return this.until(() => this.stream(id).reset);
  }

  /** Resolves with the code of the first GOAWAY. */
  async goaway(): Promise<number> {
    return (await this.frame(Type.GOAWAY)).payload.readUInt32BE(4);
  }

  /** Makes a round trip: afterwards the other side has read everything that was written before. */
  async ping(): Promise<void> {
    const mark = Buffer.alloc(8, this.pingsAs);
    mark.writeUInt32BE(++this.#pings, 4);
    this.write(frame(Type.PING, 0, 0, mark));
    await this.until(() => this.frames.some((f) => f.type === Type.PING && f.payload.equals(mark)));
  }

  /** Sends bytes in DATA frames of `size`, no faster than the flow control of the other side allows. */
  async flow(stream: number, bytes: Buffer, size = 16_384): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const room = await this.until(() => Math.max(0, this.#room(stream)) || undefined);
      const end = Math.min(at + room, bytes.length);
      const frames: Buffer[] = [];
      for (this.#spend(stream, end - at); at < end; at += size) {
        frames.push(data(stream, bytes.subarray(at, Math.min(at + size, end))));
      }
      at = end;
      this.#send(frames);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }

  #send(parts: readonly Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(parts));
  }

  #room(stream: number): number {
    const own = this.#windows.get(stream) ?? this.#initialWindow;
    return Math.min(own, this.#windows.get(0) as number);
  }

  #spend(stream: number, bytes: number): void {
    this.#windows.set(stream, (this.#windows.get(stream) ?? this.#initialWindow) - bytes);
    this.#windows.set(0, (this.#windows.get(0) as number) - bytes);
  }

  #received(): string {
    const name = (type: number) =>
      Object.entries(Type).find(([, value]) => value === type)?.[0] ?? `type ${type}`;
    return `received: ${this.frames.map((f) => `${name(f.type)}(${f.stream})`).join(" ")}`;
  }

  #changed(): void {
    for (const check of [...this.#waiting]) check();
  }

  #read(chunk: Buffer): void {
    for (const heard of this.#splitter.read(chunk)) {
      this.frames.push(heard);
      this.#take(heard);
    }
    this.#changed();
  }

  #take({ type, flags, stream, payload }: Frame): void {
    const ack = (flags & Flag.ACK) !== 0;
    if (type === Type.SETTINGS && !ack) {
      for (let at = 0; at < payload.length; at += 6) {
        if (payload.readUInt16BE(at) === 4) this.#setInitialWindow(payload.readUInt32BE(at + 2));
      }
      if (!this.#options.mute) this.write(frame(Type.SETTINGS, Flag.ACK, 0));
    } else if (type === Type.PING && !ack && !this.#options.mute) {
      this.write(frame(Type.PING, Flag.ACK, 0, payload));
    } else if (type === Type.WINDOW_UPDATE) {
      const before = this.#windows.get(stream) ?? this.#initialWindow;
      this.#windows.set(stream, before + payload.readUInt32BE(0));
    } else if (type === Type.RST_STREAM) {
      this.stream(stream).reset = payload.readUInt32BE(0);
    } else if (type === Type.DATA) {
      const incoming = this.stream(stream);
      incoming.chunks.push(payload);
      incoming.bytes += payload.length;
      incoming.ended ||= (flags & Flag.END_STREAM) !== 0;
    } else if (type === Type.HEADERS || type === Type.CONTINUATION) {
      this.#block.push(flags & Flag.PRIORITY ? payload.subarray(5) : payload);
      if (type === Type.HEADERS && flags & Flag.END_STREAM) this.stream(stream).ended = true;
      if (flags & Flag.END_HEADERS) this.#takeHeaders(stream);
    }
  }

  #takeHeaders(stream: number): void {
    const fields: Record<string, string> = {};
    for (const [name, value] of this.#decoder.decode(Buffer.concat(this.#block))) {
      fields[name] = name in fields ? `${fields[name]}, ${value}` : value;
    }
    this.#block = [];
    const incoming = this.stream(stream);
    if (incoming.headers === undefined) {
      incoming.headers = fields;
      this.onStream(stream, incoming);
    } else {
      incoming.trailers = fields;
    }
  }

  #setInitialWindow(bytes: number): void {
    for (const [stream, window] of this.#windows) {
      if (stream !== 0) this.#windows.set(stream, window + bytes - this.#initialWindow);
    }
    this.#initialWindow = bytes;
  }
}

/** Connects to a port of 127.0.0.1 as a client. */
export async function dial(port: number, options?: PeerOptions): Promise<Peer> {
  const { localAddress } = options ?? {};
  const from = localAddress === undefined ? {} : { localAddress };
  const socket = connect({ port, host: "127.0.0.1", ...from });
  await once(socket, "connect");
  return new Peer(socket, "client", options);
}

/** Connects over TLS to a server whose certificate `ca` signed. */
export async function dialSecurely(port: number, ca: string): Promise<Peer> {
  const socket = tls.connect({ port, host: "127.0.0.1", ca, ALPNProtocols: ["h2"] });
  await once(socket, "secureConnect");
  return new Peer(socket, "client");
}
