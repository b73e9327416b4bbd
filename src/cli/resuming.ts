import type { CallState } from "../index.ts";
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
  let resuming = false;
  call.onState((state) => {
    if (state === "resuming") note(json ? '{"state":"reconnecting"}' : "hawser: reconnecting…");
    if (state === "open" && resuming) note(json ? '{"state":"resumed"}' : "hawser: resumed");
    resuming = state === "resuming";
  });
}
