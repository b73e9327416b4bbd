import { Code, type ConnectError, type MethodImplSpec } from "@connectrpc/connect";
import type { ServerStreamListener } from "../call-stream.ts";
import type { ServerRequest } from "../connection/server-request.ts";
import { peerFailure, tooManyFields } from "../failure.ts";
import { Roster } from "../flow/roster.ts";
import type { CallFields } from "../grpc/call-fields.ts";
import { isGrpc } from "../grpc/metadata.ts";
import { type OpenCall, ServerCall } from "../grpc/server-call.ts";
import type { ServerCallOptions } from "../grpc/server-call-options.ts";
import type { CallCounter } from "../observe/call-counts.ts";
import type { ServerObserver } from "../observe/events.ts";
import type { Notifier } from "../observe/notifier.ts";
import { ObservedServerStream, ServerCallObservation } from "../observe/server-call.ts";
import { FULL_TRAILERS } from "../session/headers.ts";
import type { Parties, Party } from "../sharing/parties.ts";
import { overLimit } from "../sharing/refusal.ts";
import type { Callers } from "./callers.ts";
import { atExpiry } from "./expiry.ts";
import { canMove, serverClosing } from "./move-elsewhere.ts";
import { GrpcRequest } from "./observed-requests.ts";
import { callLimitOf, isOfApplication } from "./own-services.ts";
import type { ServerSessions } from "./server-sessions.ts";
import { Unidentified } from "./unidentified.ts";

/** A method that is served, and the options of its calls. */
export interface Route {
  readonly spec: MethodImplSpec;
  readonly options: ServerCallOptions;
}

/** Serves gRPC calls; each has one HTTP/2 stream. */
export interface GrpcHandler {
  /** Serves a gRPC call. Returns `false` if the request is not gRPC; another protocol may then serve it. */
  accept(request: ServerRequest): boolean;
  /** The number of the application's calls whose stream or session is not closed yet. */
  readonly open: number;
  /**
   * Refuses every new call from now on by REFUSED_STREAM, so that its client can
   * try it at another server. Streams that resume a session are still served.
   */
  refuse(): void;
  /** Ends the open calls that can continue at another server. */
  move(): void;
  /** Ends every open call with `error`. */
  abort(error: ConnectError): void;
}

/** The parts of its server that a GrpcHandler uses. */
export interface GrpcServer {
  readonly callers: Callers;
  readonly parties: Parties;
  /** Undefined: no call has a session. */
  readonly sessions: ServerSessions | undefined;
  readonly counter: CallCounter;
  /** Undefined if the server has no observer. */
  readonly notifier: Notifier<ServerObserver> | undefined;
  /** Called when a call is no longer open. */
  onClosed(): void;
}

/** Makes a handler of the methods in `routes`, by path: `/package.Service/Method`. */
export function createGrpcHandler(
  routes: ReadonlyMap<string, Route>,
  { callers, parties, sessions, counter, notifier, onClosed }: GrpcServer,
): GrpcHandler {
  const calls = new Roster<OpenCall>();
  /** Those of the server's own services. */
  const ownCalls = new Roster<OpenCall>();
  const unidentified = new Unidentified({ callers, parties }, onClosed);
  let refusing = false;
  const opened = (call: OpenCall) => {
    if (!isOfApplication(call.method)) {
      ownCalls.add(call);
      return;
    }
    calls.add(call);
    counter.onStarted();
  };
  const closed = (call: OpenCall) => {
    if (!isOfApplication(call.method)) {
      ownCalls.delete(call);
      return;
    }
    calls.delete(call);
    counter.onEnded(call.error);
    onClosed();
  };
  /** What is called when a call without a session is closed: for each party a function, and not for each call. */
  const closedOf = new WeakMap<Party, (call: OpenCall) => void>();
  const closedFor = (party: Party) => {
    const known = closedOf.get(party);
    if (known !== undefined) return known;
    const made = (call: OpenCall) => {
      party.endCall(callLimitOf(call.method));
      closed(call);
    };
    closedOf.set(party, made);
    return made;
  };
  const refuseRequest = (request: ServerRequest) => {
    // Before the reset: otherwise the client could try the call again on the same connection.
    request.connection.drain();
    request.refuse();
  };
  const listener = { opened, closed, refuseRequest };
  const serve = (request: ServerRequest, route: Route) => {
    const { spec, options } = route;
    const session = asksForSession(spec, request.fields) ? sessions : undefined;
    if (refusing && session === undefined) {
      refuseRequest(request);
      return;
    }
    const party = parties.of(request.connection, request.caller);
    if (!request.countFor(party)) {
      request.refuse();
      return;
    }
    if (session !== undefined) {
      session.accept(request, { route, party }, listener);
      return;
    }
    if (request.fields.hasSession && hasNoSessions(spec)) {
      const what = `calls of ${spec.method.parent.typeName} have no sessions`;
      request.refuseCall(peerFailure(Code.ResourceExhausted, what), FULL_TRAILERS);
      return;
    }
    const limit = callLimitOf(spec.method);
    if (!party.beginCall(limit)) {
      request.refuseCall(overLimit(party.caller, limit, Math.random));
      return;
    }
    const onCallClosed = closedFor(party);
    const { readMaxBytes } = options;
    let expiry: Disposable | undefined;
    const observation =
      notifier && isOfApplication(spec.method)
        ? new ServerCallObservation(notifier, new GrpcRequest(request, spec.method))
        : undefined;
    const open = (call: ServerStreamListener) => request.openCallStream({ readMaxBytes }, call);
    const { caller: turnsOf } = party;
    const init = { incoming: request, spec, options, turnsOf, scope: observation?.scope };
    const call = new ServerCall(
      init,
      observation === undefined
        ? open
        : (call) => new ObservedServerStream(observation, call, open),
      request.caller.expiresAtMs === undefined
        ? onCallClosed
        : (call) => {
            expiry?.[Symbol.dispose]();
            onCallClosed(call);
          },
    );
    expiry = atExpiry(request.caller.expiresAtMs, (error) => call.abort(error));
    opened(call);
    call.start();
  };
  return {
    accept(request) {
      const { fields, rawHeaders } = request;
      if (!isGrpc(fields.contentType)) return false;
      const path = String(fields.path);
      const route = routes.get(path);
      const mayResume = sessions !== undefined && route && asksForSession(route.spec, fields);
      if (refusing && !mayResume) {
        refuseRequest(request);
        return true;
      }
      if (fields.method !== "POST") {
        request.answer({ ":status": 405, allow: "POST" });
        return true;
      }
      const refusal = tooManyFields(rawHeaders.length / 2, "request headers", "the client");
      if (refusal !== undefined) {
        request.refuseCall(refusal);
        return true;
      }
      if (route === undefined) {
        request.refuseCall(peerFailure(Code.Unimplemented, `${path} is not served here`));
        return true;
      }
      if (callers.knows(request.connection.caller.peer)) serve(request, route);
      else {
        const { method } = route.spec;
        const asked = asksForSession(route.spec, fields) ? sessions : undefined;
        const isNew = () => asked === undefined || asked.begins(request);
        unidentified.identify(request, { method, isNew }, () => serve(request, route));
      }
      return true;
    },
    get open() {
      return calls.size + unidentified.size;
    },
    refuse() {
      refusing = true;
    },
    move() {
      const error = serverClosing();
      for (const call of calls) if (canMove(call.method)) call.abort(error);
    },
    abort(error) {
      // No handler has run: the client can make the call at another server.
      for (const request of unidentified.takeAll()) refuseRequest(request);
      for (const call of [...calls, ...ownCalls]) call.abort(error);
    },
  };
}

/** Whether the stream asks for a session that it may have. A unary call never has one, whatever its headers are. */
function asksForSession(spec: MethodImplSpec, { hasSession }: CallFields): boolean {
  return hasSession && spec.kind !== "unary" && isOfApplication(spec.method);
}

/** Whether a client that asks for a session is told to make the call without one. */
function hasNoSessions({ kind, method }: MethodImplSpec): boolean {
  return kind !== "unary" && !isOfApplication(method);
}
