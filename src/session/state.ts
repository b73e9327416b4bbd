/**
 * Where a session stands, as data: what carries it, and how far its call is.
 * Each side moves both by the functions below, which look at nothing else: no
 * time, and of streams only which one they are. What an earlier stream still
 * says is told from what the current one says by identity.
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
 *     the call at the server    running ── endSend() ──▶ ended ── the stream with the end is gone ──▶ closed
 */
import { Reason } from "./lost.ts";

/** `number` is that of the last attachment; 0 before the first. */
export type Link<Stream> =
  /** No stream carries the session. */
  | { readonly is: "detached"; readonly number: number }
  /** Only on the client: a stream is open, and the server has not answered. `flows`: messages leave all the same. */
  | {
      readonly is: "attaching";
      readonly number: number;
      readonly stream: Stream;
      readonly flows: boolean;
    }
  /** A stream carries the session. */
  | { readonly is: "attached"; readonly number: number; readonly stream: Stream }
  /** Nothing happens any more. */
  | { readonly is: "over"; readonly number: number };

/** How far the call is at the client: no message may be written, they may, and the response headers were told. */
export type ClientPhase = "waiting" | "open" | "answered";

/** The same at the server: it goes on, its end is known, and it was told that nothing carries it any more. */
export type ServerPhase = "running" | "ended" | "closed";

export const unattached: Link<never> = { is: "detached", number: 0 };

/**
 * The client has opened a stream for the next attachment. Whatever the last one still says is fenced off.
 *
 * @param flows whether messages leave before the answer
 */
export function opened<S>(link: Link<S>, stream: S, flows: boolean): Link<S> {
  if (link.is === "over") return link;
  return { is: "attaching", number: link.number + 1, stream, flows };
}

/** The server answered on the current stream. */
export function answered<S>(link: Link<S>): Link<S> {
  if (link.is !== "attaching") return link;
  return { is: "attached", number: link.number, stream: link.stream };
}

/** Why the server refuses attachment `number`, if it does. */
export function refusalOf(link: Link<unknown>, number: number): Reason | undefined {
  if (link.is === "over") return Reason.UNKNOWN;
  return number > link.number ? undefined : Reason.TAKEN_OVER;
}

/** The stream that carries the session. */
export function streamOf<S>(link: Link<S>): S | undefined {
  return link.is === "attached" || link.is === "attaching" ? link.stream : undefined;
}

/** The stream on which messages leave. */
export function flowOf<S>(link: Link<S>): S | undefined {
  return link.is === "attached" || (link.is === "attaching" && link.flows)
    ? link.stream
    : undefined;
}

/** The stream is gone, or left. */
export function detached<S>(link: Link<S>): Link<S> {
  return link.is === "over" ? link : { is: "detached", number: link.number };
}

/** Whether the last attachment is the first, and no server has answered it: where none processed it, the next is the first. */
export function mayBeginAgain(link: Link<unknown>): boolean {
  return link.is === "attaching" && link.number === 1;
}

/** The session has ended. */
export function ended<S>(link: Link<S>): Link<S> {
  return { is: "over", number: link.number };
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
