import { hash, randomBytes } from "node:crypto";
import {
  constants,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { TLSSocket } from "node:tls";
import { type ConnectError, createMethodImplSpec, type MethodImplSpec } from "@connectrpc/connect";
import { SessionService } from "../../../gen/hawser/v1/session_pb.js";
import { toWire } from "../../failure.ts";
import { realClock } from "../../flow/clock.ts";
import { startTimer } from "../../flow/wait.ts";
import { COMPRESSED, type Frame } from "../../grpc/framing.ts";
import { trailersLimit } from "../../grpc/header-limits.ts";
import { rawToHeaders, withoutSessions } from "../../grpc/metadata.ts";
import {
  type CarriedCall,
  type Incoming,
  type OpenCall,
  ServerCall,
  type ServerCallOptions,
} from "../../grpc/server-call.ts";
import { statusTrailers } from "../../grpc/status.ts";
import { type Keeper, ServerSession } from "../../session/accept.ts";
import type { ServerAttachment } from "../../session/attachment.ts";
import { CONTROL } from "../../session/control.ts";
import { type Ask, type Fields, readAsk } from "../../session/headers.ts";
import { DRAINING, type SessionLimits, SessionRegistry } from "../../session/registry.ts";
import type { Spool } from "../../session/spool.ts";
import type { Terms } from "../../session/terms.ts";
import { refuse } from "./refuse.ts";
import { ServerStream, type StreamOwner } from "./server-stream.ts";

/** Who asks to open or to resume a session. */
export interface SessionCaller {
  /** The request headers of the attachment. */
  readonly header: Headers;
  /** The SHA-256 fingerprint of the client's certificate, where it has one. */
  readonly certificate: string | undefined;
}

/** Sessions of a server: how long, how much, and whose. */
export interface SessionOptions extends Partial<SessionLimits> {
  /** How long a session is kept without a connection, in milliseconds. Default: 30 000. */
  readonly graceMs?: number;
  /** What one session may hold of what it sent, and of what it received, in bytes. Default: 1 MiB. */
  readonly windowBytes?: number;
  /** The same in messages. Default: 16 384. */
  readonly windowMessages?: number;
  /**
   * Says who calls, at each attachment; only the one who opened a session may
   * resume it. Throws, or rejects, where the caller may not. Default: the
   * authorization header and the certificate, which must both stay the same.
   * Where tokens are renewed while calls run: verify the token, and return
   * its subject. Hawser's clients send a new one with each attachment where
   * their option `headers` is a function.
   */
  readonly identify?: (caller: SessionCaller) => string | Promise<string>;
}

/** The method that a session calls, and how it is served. */
interface SessionRoute {
  readonly spec: MethodImplSpec;
  readonly options: ServerCallOptions;
}

/** Told of what becomes of a stream that asks to carry a session. */
export interface SessionListener {
  opened(call: OpenCall): void;
  closed(call: OpenCall): void;
  /** Its session would be a new one, and none begins any more. */
  turnAway(stream: ServerHttp2Stream): void;
}

/** How long a client may take to confirm the end of its session before the stream is freed. */
const LINGER_MS = 1000;

/** The sessions of a server, on the streams of its data path. */
export class ServerSessions {
  readonly #options: Required<SessionOptions>;
  readonly #terms: Terms;
  readonly #registry: SessionRegistry<Frame>;
  readonly #onPeer: (connection: ServerHttp2Session) => void;

  /** @param onPeer told of connections whose clients have sessions */
  constructor(options: Required<SessionOptions>, onPeer: (connection: ServerHttp2Session) => void) {
    this.#options = options;
    this.#onPeer = onPeer;
    this.#terms = {
      epoch: randomBytes(16).toString("hex"),
      graceMs: options.graceMs,
      window: { bytes: options.windowBytes, messages: options.windowMessages },
    };
    this.#registry = new SessionRegistry(this.#terms, options, realClock);
  }

  /** What a client calls to learn of the sessions. */
  get negotiation(): MethodImplSpec {
    const { epoch, graceMs, window } = this.#terms;
    return createMethodImplSpec(SessionService.method.negotiate, () => ({
      epoch,
      nowMs: BigInt(Math.floor(realClock.now())),
      graceMs: BigInt(graceMs),
      windowBytes: BigInt(window.bytes),
      windowMessages: BigInt(window.messages),
    }));
  }

  /** How many sessions there are, with a stream and without. */
  get size(): number {
    return this.#registry.size;
  }

  /** Takes a stream that asks to carry a session. */
  accept(
    stream: ServerHttp2Stream,
    incoming: Incoming,
    { spec, options }: SessionRoute,
    { opened, closed, turnAway }: SessionListener,
  ): void {
    try {
      const ask = readAsk(incoming.headers);
      const connection = stream.session as ServerHttp2Session | undefined;
      if (connection === undefined) return;
      this.#onPeer(connection);
      const admit = (caller: string) => {
        let call: ServerCall | undefined;
        const refusal = this.#registry.admit({
          ask,
          caller: fingerprint(caller),
          method: spec.method,
          connection,
          open: (session) => new Attachment(stream, session, ask.attach, options.readMaxBytes),
          create: (keeper) => {
            const made = create(keeper, ask, incoming, spec, options, closed);
            call = made.call;
            return made.session;
          },
          start: () => {
            if (call === undefined) return;
            opened(call);
            call.start();
          },
        });
        if (refusal === DRAINING) turnAway(stream);
        else if (refusal !== undefined) refuse(stream, refusal);
      };
      const caller = this.#options.identify(callerOf(stream, incoming));
      if (typeof caller === "string") {
        admit(caller);
        return;
      }
      stream.on("error", () => {});
      caller
        .then((caller) => {
          if (!stream.closed && !stream.destroyed) admit(caller);
        })
        .catch((error) => refuse(stream, toWire(error)));
    } catch (error) {
      refuse(stream, toWire(error));
    }
  }

  /** From now on no session begins; `onEmpty` is called when the last one is over. */
  drain(onEmpty: () => void): void {
    this.#registry.drain(onEmpty);
  }

  /** Ends the sessions that have no stream. */
  close(): void {
    this.#registry.close();
  }
}

function create(
  keeper: Keeper,
  ask: Ask,
  incoming: Incoming,
  spec: MethodImplSpec,
  options: ServerCallOptions,
  closed: (call: OpenCall) => void,
): { session: ServerSession<Frame>; call: ServerCall } {
  // The call has itself carried while it is made.
  let session!: ServerSession<Frame>;
  const carry = (call: CarriedCall) => {
    session = new ServerSession<Frame>(keeper, ask, call);
    return session;
  };
  const rawHeaders = withoutSessions(incoming.rawHeaders);
  const call = new ServerCall({ ...incoming, rawHeaders }, spec, options, carry, closed);
  return { session, call };
}

let last = { caller: "", print: "" };

/** Credentials are not kept; and many sessions of one caller keep one string. */
function fingerprint(caller: string): string {
  if (caller !== last.caller || last.print === "") {
    last = { caller, print: hash("sha256", caller, "base64") };
  }
  return last.print;
}

/** By default the same credentials are the same caller. */
export function identifyByCredentials({ header, certificate }: SessionCaller): string {
  return `${header.get("authorization") ?? ""}\n${certificate ?? ""}`;
}

function callerOf(stream: ServerHttp2Stream, { rawHeaders }: Incoming): SessionCaller {
  const socket = stream.session?.socket as Partial<TLSSocket> | undefined;
  return {
    get header() {
      return rawToHeaders(rawHeaders);
    },
    certificate: socket?.getPeerCertificate?.()?.fingerprint256,
  };
}

const NOTHING: Fields = {};

/** One stream under a session. */
class Attachment implements ServerAttachment, StreamOwner {
  readonly #session: ServerSession<Frame>;
  readonly #number: number;
  readonly #stream: ServerStream;
  #trailers: Fields = NOTHING;
  #refused: Disposable | undefined;

  constructor(
    stream: ServerHttp2Stream,
    session: ServerSession<Frame>,
    number: number,
    readMaxBytes: number,
  ) {
    this.#session = session;
    this.#number = number;
    this.#stream = new ServerStream(stream, readMaxBytes, this, COMPRESSED | CONTROL, LINGER_MS);
  }

  get announcedHeaderBytes(): number {
    return this.#stream.announcedHeaderBytes;
  }

  answer(headers: Fields): void {
    this.#stream.respond(headers as OutgoingHttpHeaders);
  }

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    return this.#stream.write(flags, payload);
  }

  pull(source: Spool, bytes: number): Promise<void> | undefined {
    return this.#stream.pull(source, bytes);
  }

  flush(): void {
    this.#stream.flush();
  }

  end(trailers: Fields): void {
    this.#trailers = trailers;
    this.#stream.end(() => ({}));
  }

  refuse(error: ConnectError): void {
    this.#stream.release();
    const room = { limitBytes: trailersLimit(this.announcedHeaderBytes), usedBytes: 0 };
    this.end(statusTrailers(error, undefined, room) as Fields);
    // A client that does not read would hold the stream for ever.
    this.#refused = startTimer(LINGER_MS, () => this.drop());
  }

  drop(): void {
    this.#stream.reset(constants.NGHTTP2_CANCEL);
  }

  release(): void {
    this.#stream.release();
  }

  onFrame(frame: Frame): boolean {
    return this.#session.onFrame(this.#number, frame);
  }

  onHalfClose(): void {
    this.#session.onHalfClose(this.#number);
  }

  onCutOff(): void {
    this.#session.onCutOff(this.#number);
  }

  onProtocolError(error: ConnectError): void {
    this.#session.onProtocolError(this.#number, error);
  }

  onLost(): void {
    this.#session.onLost(this.#number);
  }

  onClosed(): void {
    this.#refused?.[Symbol.dispose]();
    this.#session.onLost(this.#number);
  }

  onHeadersNeeded(): void {}

  trailers(): OutgoingHttpHeaders {
    return this.#trailers as OutgoingHttpHeaders;
  }

  onUnsendable(): void {
    this.#session.reset();
  }
}
