/** The events of a room in words: for a terminal, and for a page. */
import type {
  JoinResponse,
  Member,
  MembersChanged,
  Opened,
  WatchResponse,
} from "hawser/gen/chat/v1/room_pb.js";
import { oneLine } from "../../terminal/one-line.ts";

/** An event of a room, as a response has it. */
export type ShownEvent = JoinResponse["event"] | WatchResponse["event"];

/** How names and remarks look: in colour, or as they are. */
export interface Appearance {
  /** A name, always in the same colour. */
  name(name: string): string;
  /** A text of the program, in contrast to the texts of members. */
  remark(text: string): string;
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
