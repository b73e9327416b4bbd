/**
 * Which names rooms, members and producers may have: names that one can tell apart. They follow Unicode's advice for
 * identifiers (UTS #39): one normal form, one script, and no character that is not seen.
 */

/** The scripts in common use (UAX #31, table 5). All others count as one more. */
const SCRIPTS = [
  ...[
    "Latin",
    "Greek",
    "Cyrillic",
    "Armenian",
    "Georgian",
    "Hebrew",
    "Arabic",
    "Thaana",
    "Ethiopic",
  ],
  ...["Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada"],
  ...["Malayalam", "Sinhala", "Thai", "Lao", "Tibetan", "Myanmar", "Khmer"],
];

/** Scripts that are written together, and with Latin (UTS #39, "highly restrictive"). */
const TOGETHER = [
  ["Latin", "Han", "Hiragana", "Katakana"],
  ["Latin", "Han", "Bopomofo"],
  ["Latin", "Han", "Hangul"],
];

/** Digits, punctuation, symbols and emoji are of all scripts. */
const ofAll = "\\p{Script=Common}\\p{Script=Inherited}";

const only = (scripts: readonly string[]) =>
  new RegExp(
    `^[${ofAll}${scripts.map((script) => `\\p{Script_Extensions=${script}}`).join("")}]*$`,
    "u",
  );

const ONE_SCRIPT = [...SCRIPTS.map((script) => only([script])), ...TOGETHER.map(only)];

const KNOWN = new RegExp(
  `[${[...SCRIPTS, ...TOGETHER.flat()].map((script) => `\\p{Script=${script}}`).join("")}]`,
  "u",
);

/** Characters that change the direction of a text, or are not seen; U+2800 is an empty pattern of Braille. */
const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800]/u;

/** Returns why a text cannot be a name, or `undefined` if it can. */
export function faultOf(name: string): string | undefined {
  const unseen = UNSEEN.exec(name);
  if (unseen !== null) {
    const code = (unseen[0].codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0");
    return `holds U+${code}: leave out characters that are not seen`;
  }
  if (name !== name.normalize("NFKC")) return "is not in Unicode's normal form NFKC: normalize it";
  if (/^\s|\s$|\s\s/u.test(name)) return "has a space at an end, or two in a row: leave it out";
  const isOne = ONE_SCRIPT.some((script) => script.test(name)) || !KNOWN.test(name);
  return isOne ? undefined : "mixes scripts, so that it may look like another name: use one";
}

/** Returns the name that a user most likely means: in the normal form, without selectors of a character's style. */
export function meantBy(typed: string): string {
  return typed.normalize("NFKC").replace(/\p{Variation_Selector}/gu, "");
}
