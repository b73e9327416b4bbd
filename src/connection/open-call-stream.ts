import { Code, type ConnectError } from "@connectrpc/connect";
import type { ClientCallListener } from "../call-stream.ts";
import { failure } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import type { BegunCall, SessionWatcher } from "../session/attachment.ts";
import { ClientSession } from "../session/client-session.ts";
import type { Window } from "../session/session-window.ts";
import type { NegotiatedSettings } from "../session/settings.ts";
import type { Addresses } from "./addresses.ts";
import { Attempts } from "./attempts.ts";
import type { Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { StreamDialler } from "./dialler.ts";
import type { NegotiateHeaders } from "./negotiate.ts";
import type { RequestHeaders } from "./request-headers.ts";

/** Listens to whether the call has a session, and to the state of the session. */
export interface CallStreamWatcher extends SessionWatcher {
  /** Called if the call has a session. */
  onSession(): void;
  /** Called if the call continues without it, because the server takes no more sessions. */
  onSessionRefused(): void;
  /** Called when a call without a session is sent again, since no server has processed it. */
  onResent?(error: ConnectError): void;
}

/** The parameters of the stream of a call. */
export interface CallStreamOptions {
  readonly addresses: Addresses;
  readonly headers: RequestHeaders;
  /** Makes the request headers of Negotiate, which belongs to no call. */
  readonly negotiateHeaders: NegotiateHeaders;
  readonly readMaxBytes: number;
  /** The window of the call's session; `undefined` if the call has no session. */
  readonly window: Window | undefined;
  /** Whether the call fails if it gets no session. */
  readonly isSessionRequired: boolean;
  /** Whether the server is asked whether it keeps sessions although the call has none. The call does not wait for that. */
  readonly asks: boolean;
  readonly watcher: CallStreamWatcher | undefined;
}

/**
 * Gives a call its stream: a session if both sides have sessions, and the server takes one more; else plain HTTP/2 streams, or
 * an error if a session is required.
 */
export function openCallStream(options: CallStreamOptions, call: ClientCallListener): void {
  const { addresses, negotiateHeaders, window, isSessionRequired } = options;
  const ready = addresses.ready();
  const by = (connection: Connection, settings: NegotiatedSettings | false) => {
    if (settings === false && window !== undefined && isSessionRequired) {
      call.onFailed(noSessions(connection.target.name));
    } else if (settings === false || window === undefined) openPlain(options, call);
    else
      openSession(options, call, { connections: addresses.homeOf(connection), settings, window });
  };
  const isWanted = () => !call.isOver;
  if (window === undefined) {
    openPlain(options, call);
    // A Hawser server is sent pings more often, which detect a loss sooner.
    if (options.asks && ready?.mustNegotiate !== false) {
      addresses.question.ask(negotiateHeaders, { isWanted, onAnswer() {}, onFailed() {} });
    }
  } else if (ready?.sessionSettings !== undefined && !ready.mustNegotiate) {
    by(ready, ready.sessionSettings);
  } else {
    addresses.question.ask(negotiateHeaders, {
      isWanted,
      onAnswer: (asked) => by(asked, asked.sessionSettings ?? false),
      onFailed: (error) => call.onFailed(error),
    });
  }
}

function noSessions(server: string): ConnectError {
  const what = `${server} keeps no sessions, and this call has sessions: "required"`;
  return failure(Code.FailedPrecondition, what);
}

function openPlain(options: CallStreamOptions, call: ClientCallListener, begun?: BegunCall): void {
  const stream = new Attempts(options, call, begun);
  call.onStream(stream);
  stream.start();
}

/** The server at which a session begins. */
interface SessionServer {
  readonly connections: Connections;
  readonly settings: NegotiatedSettings;
  readonly window: Window;
}

function openSession(
  options: CallStreamOptions,
  call: ClientCallListener,
  { connections, settings, window }: SessionServer,
): void {
  const { addresses, headers, negotiateHeaders, readMaxBytes, watcher } = options;
  const continueWithout = (begun: BegunCall) => {
    watcher?.onSessionRefused();
    if (!call.isOver) openPlain(options, call, begun);
  };
  connections.useFastReconnect();
  watcher?.onSession();
  const session = new ClientSession({
    newId,
    server: settings,
    window,
    clock: realClock,
    acknowledgements: addresses.acknowledgements,
    dialler: new StreamDialler({ addresses, connections, headers, negotiateHeaders, readMaxBytes }),
    call,
    watcher,
    continueWithout: options.isSessionRequired ? undefined : continueWithout,
  });
  call.onStream(session);
  session.start();
}

/** 128 random bits in hexadecimal digits. */
function newId(): string {
  let id = "";
  for (const word of crypto.getRandomValues(new Uint32Array(4))) {
    id += word.toString(16).padStart(8, "0");
  }
  return id;
}
