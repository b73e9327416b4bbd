import { type DescMessage, type MessageShape, toJsonString } from "@bufbuild/protobuf";

// The promise of a failed write rejects. Without these listeners a failed write would also end the process.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});

/** Writes one line to stdout. Resolves when it is written; rejects with EPIPE if the reader has closed stdout. */
export function printLine(line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${line}\n`, (error) => (error ? reject(error) : resolve()));
  });
}

/** Writes one line to stderr. */
export function printNote(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Returns a message as one line of protobuf JSON, with fields of value zero, and safe for a terminal as by oneLine(). */
export function toJsonLine<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): string {
  return oneLine(toJsonString(schema, message, { alwaysEmitImplicit: true }));
}

/**
 * Makes the text of a peer safe for a terminal: replaces characters that would break the line, control the terminal, change
 * the direction of the text or hide in it by escapes (`\n`, `\u001b`, `\u202e`). JSON keeps its meaning.
 */
export function oneLine(text: string): string {
  return text.replace(UNSAFE, (character) => NAMED[character] ?? escaped(character));
}

/** Emoji, and the words of some languages, need joiners and variation selectors. */
const UNSAFE =
  /(?!\u200c|\u200d|[\ufe00-\ufe0f])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;

const NAMED: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\t" };

/** As in JSON: one escape for each unit of UTF-16. */
function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`,
  ).join("");
}
