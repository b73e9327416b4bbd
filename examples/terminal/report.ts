import { Code, ConnectError } from "hawser";
import { oneLine } from "./one-line.ts";
import { programLine } from "./program.ts";

export interface ReportOptions {
  /** Whether to write a JSON object instead of a text. */
  json?: boolean | undefined;
  /** The step that helps the user, unless the message already names it. */
  remedy?: string | undefined;
}

/** Writes one line on stderr for an error, and sets exit code 1. */
export function report(error: unknown, options: ReportOptions): void {
  process.stderr.write(describe(error, options));
  process.exitCode = 1;
}

/** Returns that line: `chat: unavailable: cannot reach …: is the server running?` */
export function describe(error: unknown, { json, remedy }: ReportOptions): string {
  const failure = ConnectError.from(error);
  const code = codeName(failure.code);
  const message = failure.rawMessage;
  if (json) return `${oneLine(JSON.stringify({ code, message, remedy }))}\n`;
  const advice = remedy === undefined ? "" : `${message.endsWith("?") ? "" : ":"} ${remedy}`;
  return `${oneLine(programLine(`${code}: ${message}${advice}`))}\n`;
}

/** Returns the name of a code as Connect writes it: `deadline_exceeded`. */
function codeName(code: Code): string {
  return (Code[code] ?? Code[Code.Unknown]).replace(/(?<!^)[A-Z]/g, "_$&").toLowerCase();
}

/** Returns the errno name (ECONNREFUSED, ENOENT …) of an error or of its innermost cause, if there is one. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code === "string") return code;
  const beneath = error instanceof AggregateError ? error.errors[0] : error.cause;
  return systemCode(beneath);
}
