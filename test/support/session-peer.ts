import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import {
  type Control,
  ControlSchema,
  type NegotiateResponse,
  NegotiateResponseSchema,
  type SessionLost,
  SessionLostSchema,
} from "../../gen/hawser/v1/session_pb.js";
import { message, request } from "./request.ts";
import {
  data,
  dial,
  envelope,
  type Fields,
  type Incoming,
  messages,
  type Peer,
  type PeerOptions,
  rst,
} from "./wire.ts";

/** The flag of a frame that carries a Control (session.proto, 5). */
export const CONTROL = 0x40;

/** The content of a Control, to be sent or received. */
export type Kind = Control["kind"];

/** A Control in its frame. */
export function control(kind: Kind): Buffer {
  return envelope(toBinary(ControlSchema, create(ControlSchema, { kind })), CONTROL);
}

export const received = (count: number | bigint): Buffer =>
  control({ case: "received", value: BigInt(count) });

export const end = (count: number | bigint): Buffer =>
  control({ case: "end", value: BigInt(count) });

/** An id as a client makes it. */
export const newId = (): string => randomBytes(16).toString("hex");

/** A message or a Control. */
interface Framed {
  readonly flags: number;
  readonly bytes: Buffer;
}

/** Returns the frames that have arrived completely. */
export function framesIn(body: Buffer): Framed[] {
  const found: Framed[] = [];
  for (let at = 0; at + 5 <= body.length; ) {
    const next = at + 5 + body.readUInt32BE(at + 1);
    if (next > body.length) break;
    found.push({ flags: body.readUInt8(at), bytes: body.subarray(at + 5, next) });
    at = next;
  }
  return found;
}

/** How an attachment ended. */
export interface Ending {
  /** The gRPC status; `undefined` if the stream was reset without one. */
  readonly status: number | undefined;
  readonly message: string;
  /** Why the session was lost, if the status says so. */
  readonly lost: SessionLost | undefined;
  /** How many messages the server says that it has sent. */
  readonly sent: string | undefined;
  readonly trailers: Fields;
}

/** An attachment of a session, at a client that writes bytes. */
export class Attached {
  readonly peer: Peer;
  readonly stream: number;
  readonly #incoming: Incoming;

  constructor(peer: Peer, stream: number) {
    this.peer = peer;
    this.stream = stream;
    this.#incoming = peer.stream(stream);
  }

  /** Sends messages, or other frames, in one DATA frame. */
  send(...parts: (string | Buffer)[]): void {
    const frames = parts.map((part) => (typeof part === "string" ? message(part) : part));
    this.peer.write(data(this.stream, Buffer.concat(frames)));
  }

  /** Ends this side of the stream: with the server's status, that confirms the end of the session. */
  halfClose(): void {
    this.peer.write(data(this.stream, undefined, true));
  }

  reset(code: number): void {
    this.peer.write(rst(this.stream, code));
  }

  /** The response headers, when they come. */
  answer(): Promise<Fields> {
    return this.peer.until(() => this.#incoming.headers);
  }

  /** The texts of the messages that have arrived. */
  get messages(): string[] {
    return this.#frames.filter(({ flags }) => flags !== CONTROL).map(({ bytes }) => textOf(bytes));
  }

  /** The contents of the Controls that have arrived. */
  get controls(): Kind[] {
    return this.#frames
      .filter(({ flags }) => flags === CONTROL)
      .map(({ bytes }) => fromBinary(ControlSchema, bytes).kind);
  }

  /** The highest count that the server acknowledged. */
  get acknowledged(): number {
    const counts = this.controls.map((kind) => (kind.case === "received" ? Number(kind.value) : 0));
    return Math.max(0, ...counts);
  }

  /** Resolves with the messages when `count` of them, or more, have arrived; rejects if the stream ends before. */
  async hears(count: number): Promise<string[]> {
    await this.peer.until(() => this.messages.length >= count || this.#hasEnded);
    if (this.messages.length >= count) return this.messages;
    const { status, message } = await this.ended();
    throw new Error(`${this.messages.length} messages of ${count}, then ${status}: ${message}`);
  }

  /** Resolves when the server has acknowledged `count` messages. */
  async isAcknowledged(count: number): Promise<void> {
    await this.peer.until(() => this.acknowledged >= count);
  }

  /** Resolves when the stream has ended, with how it ended. */
  async ended(): Promise<Ending> {
    const incoming = await this.peer.ended(this.stream);
    const trailers = incoming.trailers ?? incoming.headers ?? {};
    return {
      status: incoming.status,
      message: incoming.message,
      lost: readLost(trailers["grpc-status-details-bin"]),
      sent: trailers["hawser-sent"],
      trailers,
    };
  }

  get #hasEnded(): boolean {
    return this.#incoming.ended || this.#incoming.reset !== undefined;
  }

  get #frames(): Framed[] {
    return framesIn(this.#incoming.body);
  }
}

/** The differences of an attachment from the usual one. A header that is `undefined` is left out. */
export interface Asking {
  /** Default: Chat. */
  path?: string;
  attach?: number | string;
  received?: number | string;
  /** Whether the session has had no answer yet. Default: for attachment 1. */
  opened?: boolean;
  /** Headers that replace those made of the fields above. */
  headers?: Readonly<Record<string, string | undefined>>;
  /** Frames that follow the headers in the same write. */
  frames?: readonly Buffer[];
  /** Ends the stream after the headers and frames. */
  halfClosed?: boolean;
}

/** A client of sessions that sends the frames that the test asks for, on one connection. */
export class SessionPeer implements AsyncDisposable {
  readonly peer: Peer;
  /** The response of Negotiate. */
  readonly terms: NegotiateResponse;
  readonly #negotiatedMs = performance.now();
  #stream = 1;

  constructor(peer: Peer, terms: NegotiateResponse) {
    peer.pingsAs = "haws";
    this.peer = peer;
    this.terms = terms;
  }

  /** The server's clock, about. */
  get serverNowMs(): number {
    return Number(this.terms.nowMs) + Math.floor(performance.now() - this.#negotiatedMs);
  }

  /** Opens a stream with the headers of an attachment of the session `id`. */
  attach(id: string, asking: Asking = {}): Attached {
    const { path = "Chat", attach = 1, opened = attach === 1, halfClosed = false } = asking;
    const headers: Record<string, string | undefined> = {
      "hawser-session": id,
      "hawser-attach": `${attach}`,
      "hawser-received": `${asking.received ?? 0}`,
      "hawser-window": "1048576,16384",
      "hawser-epoch": this.terms.epoch,
      "hawser-opened": opened ? `${this.serverNowMs}` : undefined,
      ...asking.headers,
    };
    const set = Object.entries(headers).filter(([, value]) => value !== undefined);
    const stream = this.nextStream();
    const frames = asking.frames?.map((bytes) => data(stream, bytes)) ?? [];
    const head = Object.fromEntries(set) as Record<string, string>;
    this.peer.write(request(stream, path, head, halfClosed && frames.length === 0), ...frames);
    if (halfClosed && frames.length > 0) this.peer.write(data(stream, undefined, true));
    return new Attached(this.peer, stream);
  }

  /** Returns the id of a stream that the test opens itself. */
  nextStream(): number {
    this.#stream += 2;
    return this.#stream;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.peer[Symbol.asyncDispose]();
  }
}

/** Connects to a port of 127.0.0.1 and asks the server there for its session settings. */
export async function sessionPeer(port: number, options?: PeerOptions): Promise<SessionPeer> {
  const peer = await dial(port, options);
  peer.write(
    request(1, "/hawser.v1.SessionService/Negotiate"),
    data(1, envelope(Buffer.alloc(0)), true),
  );
  const { status, body, message } = await peer.ended(1);
  if (status !== 0) throw new Error(`Negotiate failed with status ${status}: ${message}`);
  return new SessionPeer(peer, fromBinary(NegotiateResponseSchema, messages(body)[0] as Buffer));
}

/** The text of a MessageRequest or MessageResponse: field 1. */
function textOf(bytes: Buffer): string {
  const reader = new BinaryReader(bytes);
  let text = "";
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) text = reader.string();
    else reader.skip(type, field);
  }
  return text;
}

/** The SessionLost among the details of a google.rpc.Status in trailers. */
export function readLost(header: string | undefined): SessionLost | undefined {
  if (header === undefined) return undefined;
  for (const any of fieldsOf(Buffer.from(header, "base64"), 3)) {
    const [type] = fieldsOf(any, 1);
    const [value] = fieldsOf(any, 2);
    if (type?.toString().endsWith("/hawser.v1.SessionLost")) {
      return fromBinary(SessionLostSchema, value ?? Buffer.alloc(0));
    }
  }
  return undefined;
}

/** The length-delimited fields of a message with this number. */
function fieldsOf(bytes: Uint8Array, number: number): Buffer[] {
  const found: Buffer[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === number && type === 2) found.push(Buffer.from(reader.bytes()));
    else reader.skip(type, field);
  }
  return found;
}
