import { Start } from "hawser/gen/chat/v1/room_pb.js";
import { flag, option, Unreadable, type Values } from "../../terminal/parameter.ts";
import { NAME_CHARACTERS, TEXT_CHARACTERS } from "../limits.ts";
import { faultOf, meantBy } from "../names.ts";

const { USER, USERNAME } = process.env;

/** --name, the same for every command that adds messages. */
export const nameOption = option("<name>", "the name of the sender", {
  read: readName,
  otherwise: USER || USERNAME || "anonymous",
});

/** Reads the name of a room, of a member, or of a producer. */
export function readName(text: string): string {
  const name = meantBy(text);
  const length = [...name].length;
  if (length < 1 || length > NAME_CHARACTERS) {
    throw new Unreadable(`write 1 to ${NAME_CHARACTERS} characters`);
  }
  const fault = faultOf(name);
  if (fault !== undefined) throw new Unreadable(`it ${fault}`);
  return name;
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
