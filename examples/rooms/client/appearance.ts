import { hash } from "node:crypto";
import type {
  JoinResponse,
  Member,
  MembersChanged,
  Opened,
  WatchResponse,
} from "hawser/gen/chat/v1/room_pb.js";
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
    case "membersChanged":
      return `${remark("*")} ${changesOf(value, { name, remark }).join(remark("; "))}`;
    case "gap":
      return remark("… messages are missing here");
    default:
      return undefined;
  }
}

/** The most names of a change that are printed. */
const NAMES = 10;

function changesOf(
  { joined, left, moreJoined, moreLeft }: MembersChanged,
  { name, remark }: Appearance,
): string[] {
  const parts: [members: Member[], more: number, what: string][] = [
    [joined, moreJoined, "joined"],
    [left, moreLeft, "left"],
  ];
  return parts
    .filter(([members, more]) => members.length + more > 0)
    .map(([members, more, what]) => {
      const shown = members.slice(0, NAMES);
      return `${withOthers(shown, more + members.length - shown.length, name)} ${remark(what)}`;
    });
}

function hereOf({ members, count }: Opened, name: Appearance["name"]): string {
  return withOthers(members, count - members.length, name);
}

/** Writes "ann, bob and 3 more", or "5" if no name is known. */
function withOthers(members: readonly Member[], others: number, name: Appearance["name"]): string {
  const names = members.map((member) => name(member.name)).join(", ");
  if (others <= 0) return names;
  return names === "" ? `${others}` : `${names} and ${others} more`;
}
