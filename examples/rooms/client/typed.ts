/** Whether what a user typed is fit for a room, by the limits of room.proto. */
import { NAME_CHARACTERS, TEXT_CHARACTERS } from "../limits.ts";
import { faultOf, meantBy } from "../names.ts";

/**
 * Returns the name that a user most likely means, of a room, of a member, or of a producer; or the reason why the text is no name.
 */
export function nameOf(typed: string): { readonly name: string } | { readonly fault: string } {
  const name = meantBy(typed);
  const length = [...name].length;
  if (length < 1 || length > NAME_CHARACTERS) {
    return { fault: `write 1 to ${NAME_CHARACTERS} characters` };
  }
  const fault = faultOf(name);
  return fault === undefined ? { name } : { fault: `it ${fault}` };
}

/** Returns the reason why a text cannot be a message, or `undefined` if it can. */
export function unfit(text: string): string | undefined {
  const length = text.length <= TEXT_CHARACTERS ? text.length : [...text].length;
  if (length > TEXT_CHARACTERS) {
    return `a message has ${TEXT_CHARACTERS} characters at most, this one has ${length}`;
  }
  // Line breaks and tabs are text.
  const [control] = text.match(/[^\P{Cc}\n\r\t]/u) ?? [];
  if (control === undefined) return undefined;
  const code = control.charCodeAt(0).toString(16).padStart(4, "0");
  return `a message holds no control characters, this one has \\u${code}`;
}
