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
