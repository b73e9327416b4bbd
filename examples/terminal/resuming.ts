import type { CallState } from "hawser";
import { printNote } from "./output.ts";

/** What tells of its state: a streaming call. */
interface Stateful {
  onState(listener: (state: CallState) => void): Disposable;
}

/**
 * Tells on stderr when a call lost its connection, and when it goes on.
 *
 * @param note writes a line to stderr, where something better than that is at hand
 */
export function announceResuming(
  call: Stateful,
  json: boolean | undefined,
  note: (line: string) => void = printNote,
): void {
  const { away, back } = resumingNotes(json, note);
  call.onState((state) => {
    if (state === "resuming") away();
    if (state === "open") back();
  });
}

/** What tells of a connection that is away, and of its return: each once, however often it is called. */
export interface ResumingNotes {
  away(): void;
  back(): void;
}

export function resumingNotes(
  json: boolean | undefined,
  note: (line: string) => void = printNote,
): ResumingNotes {
  let isAway = false;
  return {
    away() {
      if (!isAway) note(json ? '{"state":"reconnecting"}' : "hawser: reconnecting…");
      isAway = true;
    },
    back() {
      if (isAway) note(json ? '{"state":"resumed"}' : "hawser: resumed");
      isAway = false;
    },
  };
}
