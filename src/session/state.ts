/**
 * Where a session stands, as data: its attachment, and how far its call is.
 * Each side moves the attachment by the functions below, which look at nothing
 * else: no time, and of a stream only its identity, which tells what the current
 * stream says from what an earlier one still says.
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
 *     the call at the client    waiting ──── first stream ───▶ open ──── response headers ────▶ answered
 *     the call at the server    running ── endSend() ──▶ ended ── the stream with the end is closed ──▶ closed
 */
import { Reason } from "./lost.ts";

/**
 * `number` is that of the last attachment, 0 before the first; `stream` is the stream of the session, and `outgoing` the
 * stream on which messages leave.
 */
export type AttachmentState<Stream> =
  /** The session has no stream. `isReached`: since it began there has been a connection to its server. */
  | {
      readonly is: "detached";
      readonly number: number;
      readonly stream: undefined;
      readonly outgoing: undefined;
      readonly isReached: boolean;
    }
  /** Only at the client: a stream is open, and the server has not answered. On attachment 1 messages leave all the same. */
  | {
      readonly is: "attaching";
      readonly number: number;
      readonly stream: Stream;
      readonly outgoing: Stream | undefined;
    }
  /** The session has a stream. */
  | {
      readonly is: "attached";
      readonly number: number;
      readonly stream: Stream;
      readonly outgoing: Stream;
    }
  /** The session has ended: nothing follows. */
  | {
      readonly is: "over";
      readonly number: number;
      readonly stream: undefined;
      readonly outgoing: undefined;
    };

/** How far the call is at the client: no message may be written, messages may, and the response headers were told. */
export type ClientPhase = "waiting" | "open" | "answered";

/** The same at the server: it runs, its end is known, and it was told that its stream is closed. */
export type ServerPhase = "running" | "ended" | "closed";

export const unattached: AttachmentState<never> = {
  is: "detached",
  number: 0,
  stream: undefined,
  outgoing: undefined,
  isReached: false,
};

/** There is a connection to the server, or there was one before a stream could be opened on it. */
export function reached<S>(state: AttachmentState<S>): AttachmentState<S> {
  return state.is === "detached" ? { ...state, isReached: true } : state;
}

/** Whether the session is lost where no connection can be made now: it has never reached its server. */
export function isUnreached(state: AttachmentState<unknown>): boolean {
  return state.is === "detached" && !state.isReached;
}

/**
 * The client has opened a stream for the next attachment. Whatever the last one still says is fenced off.
 *
 * @param flows whether messages leave before the answer
 */
export function opened<S>(
  state: AttachmentState<S>,
  stream: S,
  flows: boolean,
): AttachmentState<S> {
  if (state.is === "over") return state;
  const outgoing = flows ? stream : undefined;
  return { is: "attaching", number: state.number + 1, stream, outgoing };
}

/** The server answered on the current stream. */
export function answered<S>(state: AttachmentState<S>): AttachmentState<S> {
  return state.is === "attaching" ? attachedTo(state.stream, state.number) : state;
}

/** The session has a stream, that of attachment `number`: the server has let it in. */
export function attachedTo<S>(stream: S, number: number): AttachmentState<S> {
  return { is: "attached", number, stream, outgoing: stream };
}

/** Why the server refuses attachment `number`, if it does. */
export function refusalOf(state: AttachmentState<unknown>, number: number): Reason | undefined {
  if (state.is === "over") return Reason.UNKNOWN;
  return number > state.number ? undefined : Reason.TAKEN_OVER;
}

/** The stream is gone, or left. */
export function detached<S>(state: AttachmentState<S>): AttachmentState<S> {
  if (state.is === "over" || state.is === "detached") return state;
  const { number } = state;
  return { is: "detached", number, stream: undefined, outgoing: undefined, isReached: true };
}

/** Whether the last attachment is the first, and no server has answered it: where none processed it, the next is the first. */
export function mayBeginAgain(state: AttachmentState<unknown>): boolean {
  return state.is === "attaching" && state.number === 1;
}

/** The session has ended. */
export function ended<S>(state: AttachmentState<S>): AttachmentState<S> {
  return { is: "over", number: state.number, stream: undefined, outgoing: undefined };
}

/** What a server does with an attachment of a session that it does not know (session.proto, 4c and 4d). */
export function judgeUnknown(
  ask: { attach: number; epoch: string; openedMs: number | undefined },
  server: { epoch: string; nowMs: number; graceMs: number },
): "start" | Reason {
  if (ask.epoch !== server.epoch) {
    // No server has seen attachment 1 before. What a later one resumes is in another process, which may be gone or not.
    return ask.attach === 1 ? "start" : Reason.SERVER_RESTARTED;
  }
  if (ask.openedMs === undefined) return Reason.UNKNOWN;
  // A time ahead of this clock is as wrong: when the session is forgotten, a late attachment could start it once more.
  const apartMs = Math.abs(server.nowMs - ask.openedMs);
  return apartMs <= server.graceMs ? "start" : Reason.EXPIRED;
}
