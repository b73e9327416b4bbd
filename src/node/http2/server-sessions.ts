import { hash, randomBytes } from "node:crypto";
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { TLSSocket } from "node:tls";
import { createMethodImplSpec, type MethodImplSpec } from "@connectrpc/connect";
import { SessionService } from "../../../gen/hawser/v1/session_pb.js";
import { toWire } from "../../failure.ts";
import { realClock } from "../../flow/clock.ts";
import { acceptsGzip, type Incoming, responseHead } from "../../grpc/incoming.ts";
import { rawToHeaders, withoutSessions } from "../../grpc/metadata.ts";
import { type OpenCall, ServerCall, type ServerCallOptions } from "../../grpc/server-call.ts";
import { CONTROL_FRAMES } from "../../session/control.ts";
import { type Ask, readAsk } from "../../session/headers.ts";
import { DRAINING, type SessionLimits, SessionRegistry } from "../../session/registry.ts";
import { ServerSession, type SessionKeeper } from "../../session/server-session.ts";
import type { SessionSettings } from "../../session/settings.ts";
import { refuse } from "./refuse.ts";
import { GrpcServerStream } from "./server-stream.ts";

/** The client that opens or resumes a session. */
export interface SessionCaller {
  /** The request headers of the attachment. */
  readonly header: Headers;
  /** The SHA-256 fingerprint of the client's certificate, if it has one. */
  readonly certificate: string | undefined;
}

/** The options of a server's sessions. */
export interface SessionOptions extends Partial<SessionLimits> {
  /** How long a session is kept without a connection, in milliseconds. Default: 30 000. */
  readonly graceMs?: number;
  /** The most unacknowledged bytes of one session, in each direction. Default: 1 MiB. */
  readonly windowBytes?: number;
  /** The most unacknowledged messages of one session, in each direction. Default: 16 384. */
  readonly windowMessages?: number;
  /**
   * Returns the identity of the caller, at each attachment; only the caller
   * that opened a session may resume it. Throws, or rejects, if the caller is not
   * allowed. Default: the authorization header and the certificate, which must
   * both stay the same. If tokens are renewed while calls run: verify the token,
   * and return its subject. Hawser's clients send a new token with each attachment
   * if their option `headers` is a function.
   */
  readonly identify?: (caller: SessionCaller) => string | Promise<string>;
}

/** The method that a session calls, and the options of the call. */
interface SessionRoute {
  readonly spec: MethodImplSpec;
  readonly options: ServerCallOptions;
}

/** Listens to the calls of sessions. */
export interface SessionListener {
  opened(call: OpenCall): void;
  closed(call: OpenCall): void;
  /** Called with a stream that asks for a new session while the server closes; the listener refuses it. */
  refuseStream(stream: ServerHttp2Stream): void;
}

interface SessionRequest {
  readonly route: SessionRoute;
  readonly listener: SessionListener;
}

/** The stream is freed if the client has not confirmed the end of its session within this time. */
const LINGER_MS = 1000;

/** The sessions of a server, on its HTTP/2 streams. */
export class ServerSessions {
  readonly #options: Required<SessionOptions>;
  readonly #settings: SessionSettings;
  readonly #registry: SessionRegistry;
  readonly #onPeer: (connection: ServerHttp2Session) => void;
  #lastCaller = { caller: "", print: "" };

  /** @param onPeer called with each connection whose client has sessions */
  constructor(options: Required<SessionOptions>, onPeer: (connection: ServerHttp2Session) => void) {
    this.#options = options;
    this.#onPeer = onPeer;
    this.#settings = {
      epoch: randomBytes(16).toString("hex"),
      graceMs: options.graceMs,
      window: { bytes: options.windowBytes, messages: options.windowMessages },
    };
    this.#registry = new SessionRegistry(this.#settings, options, realClock);
  }

  /** The method Negotiate, by which clients ask for the settings. */
  get negotiation(): MethodImplSpec {
    const { epoch, graceMs, window } = this.#settings;
    return createMethodImplSpec(SessionService.method.negotiate, () => ({
      epoch,
      nowMs: BigInt(Math.floor(realClock.now())),
      graceMs: BigInt(graceMs),
      windowBytes: BigInt(window.bytes),
      windowMessages: BigInt(window.messages),
    }));
  }

  /** The number of sessions, with and without a stream. */
  get size(): number {
    return this.#registry.size;
  }

  /** Serves a stream that opens or resumes a session. */
  accept(
    stream: ServerHttp2Stream,
    incoming: Incoming,
    { route, listener: { opened, closed, refuseStream } }: SessionRequest,
  ): void {
    const { spec, options } = route;
    try {
      const ask = readAsk(incoming.headers);
      const connection = stream.session as ServerHttp2Session | undefined;
      if (connection === undefined) return;
      this.#onPeer(connection);
      const admit = (caller: string) => {
        let call: ServerCall | undefined;
        const refusal = this.#registry.admit({
          ask,
          caller: this.#fingerprint(caller),
          method: spec.method,
          connection,
          open: (session) => {
            const { readMaxBytes } = options;
            const init = { readMaxBytes, controlFrames: CONTROL_FRAMES, lingerMs: LINGER_MS };
            return new GrpcServerStream(stream, init, session);
          },
          create: (keeper) => {
            const made = create({ keeper, ask, incoming }, route, closed);
            call = made.call;
            return made.session;
          },
          start: () => {
            if (call === undefined) return;
            opened(call);
            call.start();
          },
        });
        if (refusal === DRAINING) refuseStream(stream);
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

  /**
   * Hashes the caller's identity, so that credentials are not kept. Consecutive sessions of one caller share one
   * string.
   */
  #fingerprint(caller: string): string {
    if (caller !== this.#lastCaller.caller || this.#lastCaller.print === "") {
      this.#lastCaller = { caller, print: hash("sha256", caller, "base64") };
    }
    return this.#lastCaller.print;
  }

  /** Lets no session begin from now on; `onEmpty` is called when the last session has ended. */
  drain(onEmpty: () => void): void {
    this.#registry.drain(onEmpty);
  }

  /** Ends all sessions. */
  close(): void {
    this.#registry.close();
  }
}

interface Begun {
  readonly keeper: SessionKeeper;
  readonly ask: Ask;
  readonly incoming: Incoming;
}

function create(
  { keeper, ask, incoming }: Begun,
  { spec, options }: SessionRoute,
  closed: (call: OpenCall) => void,
): { session: ServerSession; call: ServerCall } {
  const { headers } = incoming;
  const gzip = acceptsGzip(headers, options.sendCompression);
  const head = responseHead(String(headers["content-type"]), gzip);
  const rawHeaders = withoutSessions(incoming.rawHeaders);
  const init = { incoming: { headers, rawHeaders }, spec, options };
  // The constructor of ServerCall calls the function that makes the session.
  let session!: ServerSession;
  const call = new ServerCall(
    init,
    (call) => {
      session = new ServerSession({ keeper, ask, head }, call);
      return session;
    },
    closed,
  );
  return { session, call };
}

/** The default of `identify`: callers with the same credentials are the same caller. */
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
