import type { CallState } from "hawser";
import { printNote } from "./output.ts";
import { programLine } from "./program.ts";

/** The part of a streaming call that announceResuming() needs. */
interface Stateful {
  onState(listener: (state: CallState) => void): Disposable;
}

/**
 * Writes to stderr when a call has lost its connection, and when it continues.
 *
 * @param note writes a line to stderr; default: as it is
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

/** Writes a note when a connection is lost, and when the call continues. Repeated calls of the same method write nothing. */
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
      if (!isAway) note(json ? '{"state":"reconnecting"}' : programLine("reconnecting…"));
      isAway = true;
    },
    back() {
      if (isAway) note(json ? '{"state":"resumed"}' : programLine("resumed"));
      isAway = false;
    },
  };
}
