import type { CallOptions, Client } from "hawser";
import {
  type Member,
  MemberSchema,
  type Room,
  RoomSchema,
  RoomService,
} from "hawser/gen/chat/v1/room_pb.js";
import { call, connectionOptions } from "../../terminal/call.ts";
import { command } from "../../terminal/command.ts";
import { oneLine, printLine, printNote, toJsonLine } from "../../terminal/output.ts";
import { optionalArgument } from "../../terminal/parameter.ts";
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
  options: connectionOptions,
  more: `
Examples:
  $ npm run room -- list
  $ npm run room -- list lobby
  $ npm run room -- list --json`,
  run: ({ room, ...connection }) =>
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
        for await (const member of membersOf(room, client, options)) {
          await print(json ? toJsonLine(MemberSchema, member) : memberLine(member, name));
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

/** All members of a room, a page at a time. */
async function* membersOf(
  room: string,
  client: RoomClient,
  options: CallOptions,
): AsyncGenerator<Member> {
  for (let after = ""; ; ) {
    const { members, more } = await client.listMembers({ room, after }, options);
    yield* members;
    const last = members.at(-1);
    if (!more || last === undefined) return;
    after = last.name;
  }
}

function roomLine({ name, members }: Room): string {
  const many = members === 0 ? "nobody" : `${members} member${members === 1 ? "" : "s"}`;
  return `${oneLine(name).padEnd(20)}  ${many}`;
}

function memberLine(member: Member, look: (name: string) => string): string {
  return look(member.name);
}
