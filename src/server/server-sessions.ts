import type { DescMethod } from "@bufbuild/protobuf";
import { Code, createMethodImplSpec, type MethodImplSpec } from "@connectrpc/connect";
import { SessionService } from "../../gen/hawser/v1/session_pb.js";
import type { ServerStreamListener } from "../call-stream.ts";
import type { ServedConnection } from "../connection/served-connection.ts";
import type { ServerRequest } from "../connection/server-request.ts";
import { toWire } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import type { KnownCaller } from "../grpc/caller.ts";
import { acceptsGzip, responseHead } from "../grpc/incoming.ts";
import { rawToHeaders, toHeaders, withoutSessions } from "../grpc/metadata.ts";
import { type OpenCall, ServerCall } from "../grpc/server-call.ts";
import type { ServerCallOptions } from "../grpc/server-call-options.ts";
import type { ServerObserver } from "../observe/events.ts";
import type { Notifier } from "../observe/notifier.ts";
import { ObservedServerStream, ServerCallObservation } from "../observe/server-call.ts";
import { CONTROL_FRAMES } from "../session/control.ts";
import type { Credentials } from "../session/credential-watch.ts";
import { type Ask, FULL_TRAILERS, readAsk } from "../session/headers.ts";
import { lossName, Reason, sessionLost } from "../session/lost.ts";
import { DRAINING, type SessionLimits, SessionRegistry } from "../session/registry.ts";
import { ServerSession, type SessionKeeper } from "../session/server-session.ts";
import type { SessionSettings } from "../session/settings.ts";
import type { Parties, Party } from "../sharing/parties.ts";
import type { SharedLimit } from "../sharing/shared-limit.ts";
import type { Callers } from "./callers.ts";
import { GrpcRequest } from "./observed-requests.ts";
import type { ServerReporter } from "./reporter.ts";

/** The options of a server's sessions. */
export interface SessionOptions extends Partial<SessionLimits> {
  /** How long a session is kept without a connection, in milliseconds. Default: 30 000. */
  readonly graceMs?: number;
  /** The most unacknowledged bytes of one session, in each direction. Default: 1 MiB. */
  readonly windowBytes?: number;
  /** The most unacknowledged messages of one session, in each direction. Default: 16 384. */
  readonly windowMessages?: number;
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
  /** Called with a request for a new session while the server closes; the listener refuses it. */
  refuseRequest(request: ServerRequest): void;
}

/** What sessions need of the platform. */
export interface Cryptography {
  /** Returns that many random bytes as hexadecimal digits. */
  randomHex(bytes: number): string;
  /** Returns the SHA-256 of a text, in base64. */
  sha256(text: string): string;
}

/** The parts of a server that its sessions use. */
export interface SessionServer {
  readonly callers: Callers;
  readonly parties: Parties;
  readonly cryptography: Cryptography;
  readonly reporter: ServerReporter;
  /** Undefined if the server has no observer. */
  readonly notifier: Notifier<ServerObserver> | undefined;
}

/** The stream is freed if the client has not confirmed the end of its session within this time. */
const LINGER_MS = 1000;

/** The sessions of a server, on its HTTP/2 streams. */
export class ServerSessions {
  readonly #callers: Callers;
  readonly #cryptography: Cryptography;
  readonly #settings: SessionSettings;
  readonly #registry: SessionRegistry;
  readonly #reporter: ServerReporter;
  readonly #notifier: Notifier<ServerObserver> | undefined;
  /** The calls of sessions, as the observer sees them. */
  readonly #observations = new WeakMap<ServerSession, ServerCallObservation>();
  #lastCaller = { caller: "", print: "" };

  constructor(
    options: Required<SessionOptions>,
    { callers, parties, cryptography, reporter, notifier }: SessionServer,
  ) {
    this.#reporter = reporter;
    this.#notifier = notifier;
    this.#callers = callers;
    this.#cryptography = cryptography;
    this.#settings = {
      epoch: cryptography.randomHex(16),
      graceMs: options.graceMs,
      window: { bytes: options.windowBytes, messages: options.windowMessages },
    };
    const shared = { limits: options, parties };
    this.#registry = new SessionRegistry(this.#settings, shared, realClock);
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

  /** The number of those without a stream. */
  get detached(): number {
    return this.#registry.detached;
  }

  /** Returns the limit of resumes, which counts those of this second. */
  resumeLimit(): SharedLimit {
    return this.#registry.pace.limitNow();
  }

  /** Whether a request, if it is accepted, begins a session. */
  begins(request: ServerRequest): boolean {
    try {
      return this.#registry.begins(readAsk(request.headers));
    } catch {
      // accept() refuses it.
      return false;
    }
  }

  /** Serves a request of `party` that opens or resumes a session. */
  accept(
    request: ServerRequest,
    { route, party }: { readonly route: SessionRoute; readonly party: Party },
    { opened, closed, refuseRequest }: SessionListener,
  ): void {
    const { spec, options } = route;
    const { connection } = request;
    let ask: Ask;
    try {
      ask = readAsk(request.headers);
    } catch (error) {
      request.refuseCall(toWire(error));
      return;
    }
    connection.useHawserKeepalive();
    if (connection.isAged) {
      // The client had opened the stream before it read GOAWAY.
      request.refuse();
      return;
    }
    let call: ServerCall | undefined;
    const refusal = this.#registry.admit({
      ask,
      caller: this.#fingerprint(ownerOf(request)),
      method: spec.method,
      connection: connection.caller,
      party,
      credentials: expires(request.caller)
        ? this.#credentialsOf(request.caller, spec.method)
        : undefined,
      open: (session) => {
        const { readMaxBytes } = options;
        if (call === undefined) this.#observations.get(session)?.onResumed();
        const init = { readMaxBytes, controlFrames: CONTROL_FRAMES, lingerMs: LINGER_MS };
        return request.openCallStream(init, session);
      },
      create: (keeper) => {
        const observation =
          this.#notifier &&
          new ServerCallObservation(this.#notifier, new GrpcRequest(request, spec.method));
        const onClosed = this.#reporting(observation, closed);
        const made = create({ keeper, party, ask, request, observation }, route, onClosed);
        call = made.call;
        if (observation !== undefined) {
          this.#observations.set(made.session, observation);
          observation.onSession();
        }
        return made.session;
      },
      start: () => {
        if (call === undefined) return;
        opened(call);
        call.start();
      },
    });
    if (refusal === DRAINING) refuseRequest(request);
    else if (refusal !== undefined) {
      const isFull = refusal.code === Code.ResourceExhausted;
      request.refuseCall(refusal, isFull ? FULL_TRAILERS : undefined);
    }
  }

  /**
   * Returns what is called when the call of a session is closed: it reports the loss of the session, if that is why. The
   * session keeps it, so it is not made where the request is known, which would keep the connection.
   */
  #reporting(
    observation: ServerCallObservation | undefined,
    closed: (call: OpenCall) => void,
  ): (call: OpenCall) => void {
    return (call) => {
      const { error, method } = call;
      const reason = lossName(error);
      if (error !== undefined && reason !== undefined) {
        this.#reporter.onSessionLost(reason, error, method);
        observation?.onSessionLost(reason, error);
      }
      closed(call);
    };
  }

  /** Returns the credentials with which a caller has attached. */
  #credentialsOf(caller: KnownCaller, method: DescMethod): Credentials {
    const { identity, peer, expiresAtMs = Number.POSITIVE_INFINITY } = caller;
    return {
      validMs: expiresAtMs - Date.now(),
      renew: async (headers) => {
        const request = { header: toHeaders(headers), peer, method };
        const renewed = await this.#callers.authenticate(request);
        if (renewed.identity !== identity) throw sessionLost(Reason.NOT_YOURS, 0);
        return this.#credentialsOf(renewed, method);
      },
    };
  }

  /**
   * Hashes the caller's identity, so that credentials are not kept. Consecutive sessions of one caller share one
   * string.
   */
  #fingerprint(caller: string): string {
    if (caller !== this.#lastCaller.caller || this.#lastCaller.print === "") {
      this.#lastCaller = { caller, print: this.#cryptography.sha256(caller) };
    }
    return this.#lastCaller.print;
  }

  /** Has the sessions of a connection that takes no more calls continue on another connection. */
  moveFrom(connection: ServedConnection): void {
    this.#registry.moveFrom(connection.caller);
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

function expires({ expiresAtMs }: KnownCaller): boolean {
  return expiresAtMs !== undefined && expiresAtMs < Number.POSITIVE_INFINITY;
}

interface Begun {
  readonly keeper: SessionKeeper;
  readonly party: Party;
  readonly ask: Ask;
  readonly request: ServerRequest;
  readonly observation: ServerCallObservation | undefined;
}

function create(
  { keeper, party, ask, request, observation }: Begun,
  { spec, options }: SessionRoute,
  closed: (call: OpenCall) => void,
): { session: ServerSession; call: ServerCall } {
  const { fields, caller } = request;
  const gzip = acceptsGzip(fields, options.sendCompression);
  const head = responseHead(String(fields.contentType), gzip);
  const rawHeaders = withoutSessions(request.rawHeaders);
  const scope = observation?.scope;
  const incoming = { fields, rawHeaders, caller };
  const init = { incoming, spec, options, turnsOf: party.caller, scope };
  const onDetached = observation && (() => observation.onDetached());
  // The constructor of ServerCall calls the function that makes the session.
  let session!: ServerSession;
  const open = (call: ServerStreamListener) => {
    const account = party.sessionBytes;
    session = new ServerSession({ keeper, account, ask, head, onDetached }, call);
    return session;
  };
  const call = new ServerCall(
    init,
    observation === undefined ? open : (call) => new ObservedServerStream(observation, call, open),
    closed,
  );
  return { session, call };
}

/**
 * Returns whose session this request opens: that of its identity; without one, that of the callers with the same
 * authorization header and the same certificate.
 */
function ownerOf({ caller, rawHeaders }: ServerRequest): string {
  if (caller.identity !== undefined) return caller.identity;
  const authorization = rawToHeaders(rawHeaders).get("authorization");
  return `${authorization ?? ""}\n${caller.peer.certificate?.fingerprint256 ?? ""}`;
}
