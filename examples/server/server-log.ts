import { format } from "node:util";
import type { Logger } from "hawser/server";
import { oneLine } from "../terminal/one-line.ts";
import { printNote } from "../terminal/output.ts";
import { programLine } from "../terminal/program.ts";

/**
 * The logger of the server and of its log of records: each message is a line on stderr, and below it the stack of an error.
 * It has no `info`: that the server listens and closes is printed in words of its own.
 */
export function serverLog({ json }: { json?: boolean | undefined }): Logger {
  const at =
    (level: "error" | "warn") =>
    (message: string, ...details: unknown[]): void => {
      const detail = format(...details);
      if (json) {
        printNote(oneLine(JSON.stringify({ level, message, ...(detail && { detail }) })));
        return;
      }
      // A message may name a room, and an error may quote a peer.
      printNote(oneLine(programLine(message)));
      if (detail !== "") for (const line of detail.split("\n")) printNote(`  ${oneLine(line)}`);
    };
  return { error: at("error"), warn: at("warn") };
}
