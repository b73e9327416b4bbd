import { type DescMessage, type MessageShape, toJsonString } from "@bufbuild/protobuf";

/** A failed write rejects where it was made; without a listener it would also end the process. */
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});

/** Writes one line to stdout; resolves when it is out, rejects with EPIPE when its reader has closed it. */
export function printLine(line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${line}\n`, (error) => (error ? reject(error) : resolve()));
  });
}

/** Writes one line to stderr. */
export function printNote(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A message as one line of protobuf JSON, fields of value zero included; fit for a terminal, as oneLine(). */
export function toJsonLine<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): string {
  return oneLine(toJsonString(schema, message, { alwaysEmitImplicit: true }));
}

/**
 * Text of a peer, made safe for a terminal: characters that would break the line, control
 * the terminal or change the direction of the text are written as escapes
 * (`\n`, `\u001b`, `\u202e`). JSON stays the same JSON.
 */
export function oneLine(text: string): string {
  return text.replace(CONTROL, (character) => {
    const known = NAMED[character];
    return known ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;
const NAMED: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\t" };
