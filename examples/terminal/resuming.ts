import type { CallState } from "hawser";
import { printNote } from "./output.ts";
import { programLine } from "./program.ts";

/** A streaming call, as far as its state is concerned. */
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

/** Notes of the loss of a connection and of its return: each is written once, however often it is called. */
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
