import { hash } from "node:crypto";
import type { JoinResponse, Opened, WatchResponse } from "hawser/gen/chat/v1/room_pb.js";
import { oneLine } from "../../terminal/output.ts";

/** An event of a room, as a response has it. */
export type ShownEvent = JoinResponse["event"] | WatchResponse["event"];

/** How names and remarks look: in colour, or as they are. */
export interface Appearance {
  /** A name, always in the same colour. */
  name(name: string): string;
  /** A text of the program, in contrast to the texts of members. */
  remark(text: string): string;
}

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

/** Returns an event as a line of text, or `undefined` for events that are not printed: said, typing. */
export function lineOf(
  { case: kind, value }: ShownEvent,
  { name, remark }: Appearance,
): string | undefined {
  switch (kind) {
    case "message":
      return `${name(value.name)}: ${oneLine(value.text)}`;
    case "opened":
      return `${remark("* here:")} ${hereOf(value, name) || remark("nobody")}`;
    case "joined":
      return `${remark("*")} ${name(value.name)} ${remark("joined")}`;
    case "left":
      return `${remark("*")} ${name(value.name)} ${remark("left")}`;
    case "gap":
      return remark("… messages are missing here");
    default:
      return undefined;
  }
}

function hereOf({ members, count }: Opened, name: Appearance["name"]): string {
  const names = members.map((member) => name(member.name)).join(", ");
  const others = count - members.length;
  return others > 0 ? `${names} and ${others} more` : names;
}
