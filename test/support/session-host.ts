import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { ControlSchema, NegotiateResponseSchema } from "../../gen/hawser/v1/session_pb.js";
import {
  type Client,
  type ClosableTransport,
  createClient,
  createTransport,
  type TransportOptions,
} from "../../src/index.ts";
import { census } from "./census.ts";
import { listen, responseHeaders } from "./fake-server.ts";
import { until } from "./gate.ts";
import { next } from "./read.ts";
import { CONTROL, framesIn, type Kind, newId } from "./session-peer.ts";
import { message } from "./watched-server.ts";
import { data, envelope, type Fields, headers, type Incoming, Peer, rst } from "./wire.ts";

/** The epoch of the server (session.proto, 1). */
const EPOCH = "e".repeat(32);

/** An attachment at a server that writes bytes: the test answers it. */
export class Hosted {
  readonly peer: Peer;
  readonly stream: number;
  /** The request headers. */
  readonly asks: Fields;
  readonly #incoming: Incoming;

  constructor(peer: Peer, stream: number, incoming: Incoming) {
    this.peer = peer;
    this.stream = stream;
    this.asks = incoming.headers ?? {};
    this.#incoming = incoming;
  }

  get number(): number {
    return Number(this.asks["hawser-attach"]);
  }

  /** Sends the response headers; those that are `undefined` are left out. */
  answer(but: Readonly<Record<string, string | undefined>> = {}): void {
    const list = {
      "hawser-session": this.number === 1 ? "new" : "resumed",
      "hawser-epoch": EPOCH,
      "hawser-received": "0",
      "hawser-window": "1048576,16384",
      "hawser-metadata": "here",
      ...but,
    };
    const set = Object.entries(list).filter(([, value]) => value !== undefined);
    this.peer.write(responseHeaders(this.stream, Object.fromEntries(set) as Fields));
  }

  /** Sends messages, or other frames, in one DATA frame. */
  send(...parts: (string | Buffer)[]): void {
    const frames = parts.map((part) => (typeof part === "string" ? message(part) : part));
    this.peer.write(data(this.stream, Buffer.concat(frames)));
  }

  /** Ends the stream with trailers. */
  end(fields: Readonly<Record<string, string>>): void {
    this.peer.write(headers(this.stream, Object.entries(fields), true));
  }

  /** Ends the stream without trailers. */
  close(): void {
    this.peer.write(data(this.stream, undefined, true));
  }

  reset(code: number): void {
    this.peer.write(rst(this.stream, code));
  }

  get #frames() {
    return framesIn(this.#incoming.body);
  }

  /** The bytes of each message that has arrived. */
  get messages(): Buffer[] {
    return this.#frames.filter(({ flags }) => flags !== CONTROL).map(({ bytes }) => bytes);
  }

  get controls(): Kind[] {
    return this.#frames
      .filter(({ flags }) => flags === CONTROL)
      .map(({ bytes }) => fromBinary(ControlSchema, bytes).kind);
  }

  /** Resolves when the client has sent `count` messages. */
  hears(count: number): Promise<unknown> {
    return this.peer.until(() => this.messages.length >= count);
  }

  /** Resolves when the client has half-closed, by its Control. */
  hearsEnd(): Promise<unknown> {
    return this.peer.until(() => this.controls.some((kind) => kind.case === "end"));
  }
}

/** The call options for a call that the script answers. */
export const scripted = { headers: { "x-case": "1" } };

/** A server that writes bytes and keeps sessions, and our client of it. */
export interface SessionHost extends AsyncDisposable {
  readonly transport: ClosableTransport;
  readonly client: Client<typeof Greeter>;
  /** The attachments that the script answers, cancels included. */
  readonly hosted: Hosted[];
  /** The count of calls without a session. */
  readonly plain: number;
  /** Starts a Chat in another session, which must continue while others on its connection fail. */
  otherSession(): Promise<{ stillWorks(): Promise<void> }>;
}

/** The bytes of the response of Negotiate, or a function that answers it. */
export type Negotiator = Uint8Array | ((peer: Peer, stream: number) => void);

export interface HostOptions extends Partial<TransportOptions> {
  negotiation?: Negotiator;
  /** The server's SETTINGS; read for each connection. */
  settings?: Readonly<Record<number, number>>;
}

/** SessionSettings as a server may have them. */
export function terms(but: { epoch?: string; graceMs?: bigint; windowMessages?: bigint } = {}) {
  return toBinary(
    NegotiateResponseSchema,
    create(NegotiateResponseSchema, {
      epoch: EPOCH,
      nowMs: 1000n,
      graceMs: 2000n,
      windowBytes: 1_048_576n,
      windowMessages: 16_384n,
      ...but,
    }),
  );
}

/** Calls with the header `x-case` are answered by the script; the others are served well, with a session or without. */
export async function sessionHost(
  script: (attachment: Hosted, host: SessionHost) => unknown,
  options: HostOptions = {},
): Promise<SessionHost> {
  const { negotiation = terms(), settings: _perConnection, ...transportOptions } = options;
  const peers: Peer[] = [];
  const hosted: Hosted[] = [];
  const failed: unknown[] = [];
  const openBefore = census.clientStreams;
  let plain = 0;

  const listener = await listen((socket) => {
    const peer = new Peer(socket, "server", { settings: options.settings });
    peers.push(peer);
    peer.onStream = (stream, incoming) => {
      const asks = incoming.headers ?? {};
      if (asks[":path"]?.endsWith("/Negotiate")) {
        negotiate(peer, stream, negotiation);
        return;
      }
      const attachment = new Hosted(peer, stream, incoming);
      const isScripted = asks["x-case"] !== undefined;
      if (asks["hawser-session"] === undefined) plain++;
      else if (isScripted) hosted.push(attachment);
      void (async () => {
        try {
          if (asks["hawser-session"] === undefined) await echo(attachment, incoming);
          else if (asks["hawser-cancel"] !== undefined) attachment.end(refusal(1));
          else if (isScripted) await script(attachment, host);
          else await serve(attachment);
        } catch (error) {
          // A script that the end of its connection interrupts has not failed.
          if (!peer.socket.destroyed) failed.push(error);
        }
      })();
    };
  });
  const transport = createTransport({ baseUrl: listener.url, ...transportOptions });

  const host: SessionHost = {
    transport,
    client: createClient(Greeter, transport),
    hosted,
    get plain() {
      return plain;
    },
    async otherSession() {
      const chat = host.client.chat();
      await chat.send({ content: "before" });
      expect(await next(chat)).toMatchObject({ reply: "before" });
      return {
        async stillWorks() {
          await chat.send({ content: "after" });
          chat.closeSend();
          expect(await next(chat)).toMatchObject({ reply: "after" });
          expect(await next(chat)).toBeUndefined();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await transport.close();
      for (const peer of peers) await peer[Symbol.asyncDispose]();
      await listener[Symbol.asyncDispose]();
      await until("our client has no stream open", () => census.clientStreams <= openBefore);
      expect(failed).toEqual([]);
    },
  };
  return host;
}

/** The headers of a response that has only trailers (Trailers-Only). */
export function refusal(status: number, but: Readonly<Record<string, string>> = {}) {
  return {
    ":status": "200",
    "content-type": "application/grpc",
    "grpc-status": `${status}`,
    ...but,
  };
}

function negotiate(peer: Peer, stream: number, answer: Negotiator): void {
  if (typeof answer === "function") {
    answer(peer, stream);
    return;
  }
  peer.write(
    responseHeaders(stream),
    data(stream, envelope(answer)),
    headers(stream, [["grpc-status", "0"]], true),
  );
}

/** Serves a Chat as a server should, until its connection closes. */
async function serve(attachment: Hosted): Promise<void> {
  attachment.answer();
  for (let sent = 0; ; sent++) {
    await attachment.peer.until(
      () =>
        attachment.messages.length > sent ||
        attachment.controls.some(({ case: is }) => is === "end"),
    );
    const bytes = attachment.messages[sent];
    if (bytes === undefined) {
      attachment.end({ "grpc-status": "0", "hawser-sent": `${sent}` });
      return;
    }
    attachment.send(envelope(bytes));
  }
}

/** Serves a Chat without a session: a request and a reply look the same on the wire. */
async function echo({ peer, stream }: Hosted, incoming: Incoming): Promise<void> {
  peer.write(responseHeaders(stream));
  await peer.until(() => incoming.ended);
  peer.write(data(stream, incoming.body), headers(stream, [["grpc-status", "0"]], true));
}

export { newId };
