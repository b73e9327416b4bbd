import type { Logger } from "hawser/server";
import { oneLine, printNote } from "../terminal/output.ts";

/** What a log tells the operator of the server: a line each on stderr. */
export function serverLog({ json }: { json?: boolean | undefined }): Logger {
  const at =
    (level: "error" | "warn") =>
    (message: string): void =>
      // A message may name a room, which is a peer's text.
      printNote(oneLine(json ? JSON.stringify({ level, message }) : `hawser: ${message}`));
  return { error: at("error"), warn: at("warn") };
}
