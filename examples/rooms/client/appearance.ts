import { hash } from "node:crypto";
import { oneLine } from "../../terminal/one-line.ts";
import type { Appearance } from "./event-line.ts";

/** The twelve of the sixteen colours of terminals that are neither black, white nor grey. */
const COLOURS = [31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96];

/** Uses colours if `screen` is a terminal that has them, unless NO_COLOR is set. */
export function appearanceOn(screen: NodeJS.WriteStream): Appearance {
  if (!screen.isTTY || !screen.hasColors(16)) return { name: oneLine, remark: (text) => text };
  return {
    name: (name) => `\u001b[${colourOf(name)}m${oneLine(name)}\u001b[39m`,
    remark: (text) => `\u001b[2m${text}\u001b[22m`,
  };
}

/** Chooses a colour by a hash, so that a name has the same colour everywhere. */
function colourOf(name: string): number {
  const number = hash("sha1", name, "buffer").readUInt32BE();
  return COLOURS[number % COLOURS.length] as number;
}
