import { Start } from "hawser/gen/chat/v1/room_pb.js";
import { flag, option, Unreadable, type Values } from "../../terminal/parameter.ts";
import { nameOf } from "./typed.ts";

const { USER, USERNAME } = process.env;

/** --name, the same for every command that adds messages. */
export const nameOption = option("<name>", "the name of the sender", {
  read: readName,
  otherwise: USER || USERNAME || "anonymous",
});

/** Reads the name of a room, of a member, or of a producer. */
export function readName(text: string): string {
  const read = nameOf(text);
  if ("fault" in read) throw new Unreadable(read.fault);
  return read.name;
}

/** --oldest and --after, the same for every command that prints events. */
export const beginOptions = {
  oldest: flag("begin with the oldest message that is kept (default: with the next)"),
  after: option("<cursor>", "begin after this cursor, as --json gave it", {
    otherwise: "",
    shown: "none",
    excludes: ["oldest"],
  }),
};

/** The options as fields of a request. */
export function beginOf({ oldest, after }: Values<typeof beginOptions>) {
  return { after, start: oldest ? Start.OLDEST : Start.NOW };
}
