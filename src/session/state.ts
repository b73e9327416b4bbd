/**
 * The state of a session as data: its attachment, and the phase of its call.
 * Each side changes the attachment by the functions below, which use nothing
 * else: no time, and of a stream only its identity, by which a session ignores
 * what an earlier stream still reports.
 *
 *                    open                answer
 *       ┌──────────┐──────▶┌───────────┐──────▶┌──────────┐
 *       │ detached │       │ attaching │       │ attached │◀┐ a higher attachment
 *       └──────────┘◀──────└───────────┘       └──────────┘─┘ (server)
 *        │   ▲ ▲   lost, refused            lost  │  │
 *        │   │ └──────────────────────────────────┘  │
 *        │   └─ attach (server: straight to attached)│
 *        ▼                                           ▼
 *       ┌──────────────────────────────────────────────┐
 *       │ over: ended, cancelled, expired, lost         │
 *       └──────────────────────────────────────────────┘
 *
 *     the call at the client    waiting ──── first stream ───▶ open ──── response headers ────▶ headersGiven
 *     the call at the server    running ── endSend() ──▶ ended ── the stream with the end is closed ──▶ closed
 */
import { Reason } from "./lost.ts";

/**
 * `number` is the number of the newest attachment, 0 before the first. `stream` is the stream of the session, and
 * `outgoing` the stream on which messages are sent.
 */
export type AttachmentState<Stream> =
  /** The session has no stream. `isReached`: there has been a connection to its server since it began. */
  | {
      readonly is: "detached";
      readonly number: number;
      readonly stream: undefined;
      readonly outgoing: undefined;
      readonly isReached: boolean;
    }
  /**
   * A state of the client alone: a stream is open, and the server has not answered. On attachment 1 messages are sent already.
   */
  | {
      readonly is: "attaching";
      readonly number: number;
      readonly stream: Stream;
      readonly outgoing: Stream | undefined;
    }
  /** The session has a stream, and the server has accepted it. */
  | {
      readonly is: "attached";
      readonly number: number;
      readonly stream: Stream;
      readonly outgoing: Stream;
    }
  /** The session has ended. */
  | {
      readonly is: "over";
      readonly number: number;
      readonly stream: undefined;
      readonly outgoing: undefined;
    };

/**
 * The phase of the call at the client: it waits for its first stream; it may write messages; it was given its response
 * headers.
 */
export type ClientPhase = "waiting" | "open" | "headersGiven";

/** The phase of the call at the server: the handler runs; the call has ended; onClosed() was called. */
export type ServerPhase = "running" | "ended" | "closed";

export const unattached: AttachmentState<never> = {
  is: "detached",
  number: 0,
  stream: undefined,
  outgoing: undefined,
  isReached: false,
};

/** The server was connected, even if no stream could be opened on that connection. */
export function reached<S>(state: AttachmentState<S>): AttachmentState<S> {
  return state.is === "detached" ? { ...state, isReached: true } : state;
}

/** Whether the session has never reached its server. It is then lost if no connection can be made. */
export function isUnreached(state: AttachmentState<unknown>): boolean {
  return state.is === "detached" && !state.isReached;
}

/**
 * The client has opened a stream for the next attachment. What the previous stream still reports is ignored.
 *
 * @param isSending whether messages are sent before the server answers
 */
export function opened<S>(
  state: AttachmentState<S>,
  stream: S,
  isSending: boolean,
): AttachmentState<S> {
  if (state.is === "over") return state;
  const outgoing = isSending ? stream : undefined;
  return { is: "attaching", number: state.number + 1, stream, outgoing };
}

/** The server answered on the current stream. */
export function answered<S>(state: AttachmentState<S>): AttachmentState<S> {
  return state.is === "attaching" ? attachedTo(state.stream, state.number) : state;
}

/** The server has accepted attachment `number`. */
export function attachedTo<S>(stream: S, number: number): AttachmentState<S> {
  return { is: "attached", number, stream, outgoing: stream };
}

/** Returns why the server refuses attachment `number`; `undefined` if it accepts it. */
export function refusalOf(state: AttachmentState<unknown>, number: number): Reason | undefined {
  if (state.is === "over") return Reason.UNKNOWN;
  return number > state.number ? undefined : Reason.TAKEN_OVER;
}

/** The session has no stream any more. */
export function detached<S>(state: AttachmentState<S>): AttachmentState<S> {
  if (state.is === "over" || state.is === "detached") return state;
  const { number } = state;
  return { is: "detached", number, stream: undefined, outgoing: undefined, isReached: true };
}

/** Whether attachment 1 was sent and not answered. If no server processed it, the next attachment is number 1 again. */
export function mayBeginAgain(state: AttachmentState<unknown>): boolean {
  return state.is === "attaching" && state.number === 1;
}

/** The session has ended. */
export function ended<S>(state: AttachmentState<S>): AttachmentState<S> {
  return { is: "over", number: state.number, stream: undefined, outgoing: undefined };
}

/** Returns what a server does with an attachment of a session that it does not know (session.proto, 4c and 4d). */
export function judgeUnknown(
  ask: { attach: number; epoch: string; openedMs: number | undefined },
  server: { epoch: string; nowMs: number; graceMs: number },
): "start" | Reason {
  if (ask.epoch !== server.epoch) {
    // Attachment 1 begins a session. A later one resumes a session of another process, which may still run or not.
    return ask.attach === 1 ? "start" : Reason.SERVER_RESTARTED;
  }
  if (ask.openedMs === undefined) return Reason.UNKNOWN;
  // A time ahead of this clock is refused too: a late attachment could start the session again after it was forgotten.
  const apartMs = Math.abs(server.nowMs - ask.openedMs);
  return apartMs <= server.graceMs ? "start" : Reason.EXPIRED;
}
