import type { CallOptions, Client } from "hawser";
import {
  type ListMembersResponse,
  MemberSchema,
  type Room,
  RoomSchema,
  RoomService,
} from "hawser/gen/chat/v1/room_pb.js";
import { call, connectionOptions } from "../../terminal/call.ts";
import { command } from "../../terminal/command.ts";
import { oneLine } from "../../terminal/one-line.ts";
import { printLine, printNote, toJsonLine } from "../../terminal/output.ts";
import { flag, optionalArgument } from "../../terminal/parameter.ts";
import { programLine } from "../../terminal/program.ts";
import { appearanceOn } from "./appearance.ts";
import { readName } from "./options.ts";

type RoomClient = Client<typeof RoomService>;

export const list = command({
  program: "room",
  usage: "npm run room -- list",
  about: "Prints the rooms, or the members of one of them.",
  arguments: {
    room: optionalArgument(
      "[room]",
      "the room whose members to print; without it, the rooms are printed",
      { read: readName },
    ),
  },
  options: {
    all: flag("print all members of the room (default: the first 100, by name, and their count)"),
    ...connectionOptions,
  },
  more: `
Examples:
  $ npm run room -- list
  $ npm run room -- list lobby
  $ npm run room -- list lobby --all
  $ npm run room -- list --json`,
  run: ({ room, all, ...connection }) =>
    call(RoomService, connection, async ({ client, options }) => {
      const { json } = connection;
      const { name } = appearanceOn(process.stdout);
      let isEmpty = true;
      const print = (line: string) => {
        isEmpty = false;
        return printLine(line);
      };
      if (room === undefined) {
        for await (const one of roomsOf(client, options)) {
          await print(json ? toJsonLine(RoomSchema, one) : roomLine(one));
        }
      } else {
        for await (const { members, more, count } of memberPagesOf(room, client, options)) {
          for (const member of members) {
            await print(json ? toJsonLine(MemberSchema, member) : name(member.name));
          }
          if (all || !more) continue;
          if (!json) printNote(programLine(`${count} members in all: --all prints them`));
          break;
        }
      }
      if (!isEmpty || json) return;
      printNote(
        room === undefined
          ? programLine("no rooms yet: a join, or a post, makes one")
          : programLine(`nobody is in ${oneLine(room)}`),
      );
    }),
});

/** All rooms, a page at a time. */
async function* roomsOf(client: RoomClient, options: CallOptions): AsyncGenerator<Room> {
  for (let after = ""; ; ) {
    const { rooms, more } = await client.listRooms({ after }, options);
    yield* rooms;
    const last = rooms.at(-1);
    if (!more || last === undefined) return;
    after = last.name;
  }
}

/** The members of a room, a page at a time. */
async function* memberPagesOf(
  room: string,
  client: RoomClient,
  options: CallOptions,
): AsyncGenerator<ListMembersResponse> {
  for (let after = ""; ; ) {
    const page = await client.listMembers({ room, after }, options);
    yield page;
    const last = page.members.at(-1);
    if (!page.more || last === undefined) return;
    after = last.name;
  }
}

function roomLine({ name, members }: Room): string {
  const many = members === 0 ? "nobody" : `${members} member${members === 1 ? "" : "s"}`;
  return `${oneLine(name).padEnd(20)}  ${many}`;
}
