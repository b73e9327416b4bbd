/**
 * Where a session stands, as data. Each side has one of these and moves it by
 * the functions below, which look at nothing else: no streams, no time.
 *
 *                    dial                answer
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
 */
import { Reason } from "./lost.ts";

/** `number` is that of the last attachment; 0 before the first. */
export type Link =
  /** No stream carries the session. */
  | { readonly is: "detached"; readonly number: number }
  /** Only on the client: a stream is open, and the server has not answered. */
  | { readonly is: "attaching"; readonly number: number }
  /** A stream carries the session. */
  | { readonly is: "attached"; readonly number: number }
  /** Nothing happens any more. */
  | { readonly is: "over"; readonly number: number };

export const unattached: Link = { is: "detached", number: 0 };

/** The client opens the next attachment. Whatever the last one still says is fenced off. */
export function dialled(link: Link): Link {
  return link.is === "over" ? link : { is: "attaching", number: link.number + 1 };
}

/** The server answered attachment `number`. */
export function answered(link: Link, number: number): Link {
  return link.is === "attaching" && link.number === number ? { is: "attached", number } : link;
}

/** A client asks the server for attachment `number`: the new link, or why it is refused. */
export function admit(link: Link, number: number): Link | Reason {
  if (link.is === "over") return Reason.UNKNOWN;
  return number > link.number ? { is: "attached", number } : Reason.TAKEN_OVER;
}

/** Attachment `number` is gone. News of an earlier one is no news. */
export function lost(link: Link, number: number): Link {
  return carries(link, number) ? { is: "detached", number } : link;
}

/** No server processed attachment 1: the next is the first. */
export function refused(link: Link): Link {
  return link.is === "attaching" && link.number === 1 ? unattached : link;
}

/** Whether attachment `number` is the one that carries the session; what another one delivers is dropped. */
export function carries(link: Link, number: number): boolean {
  return link.number === number && (link.is === "attached" || link.is === "attaching");
}

/** The session has ended. */
export function ended(link: Link): Link {
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
