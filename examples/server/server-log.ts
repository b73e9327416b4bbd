import type { Logger } from "hawser/server";
import { oneLine, printNote } from "../terminal/output.ts";
import { programLine } from "../terminal/program.ts";

/** The logger of the server: each message is a line on stderr. */
export function serverLog({ json }: { json?: boolean | undefined }): Logger {
  const at =
    (level: "error" | "warn") =>
    (message: string): void =>
      // A message may name a room, which is a peer's text.
      printNote(oneLine(json ? JSON.stringify({ level, message }) : programLine(message)));
  return { error: at("error"), warn: at("warn") };
}
