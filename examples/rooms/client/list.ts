import type { CallOptions, Client } from "hawser";
import {
  type Member,
  MemberSchema,
  type Room,
  RoomSchema,
  RoomService,
} from "hawser/gen/chat/v1/room_pb.js";
import { type ConnectionOptions, call, callingCommand } from "../../terminal/call.ts";
import { oneLine, printLine, printNote, toJsonLine } from "../../terminal/output.ts";
import { appearanceOn } from "./appearance.ts";
import { readName } from "./options.ts";

type Rooms = Client<typeof RoomService>;

export const list = callingCommand("list")
  .description("Prints the rooms, or who is in one of them.")
  .argument("[room]", "the room whose members to print (default: print the rooms)", readName)
  .addHelpText(
    "after",
    `
Examples:
  $ hawser room list
  $ hawser room list lobby
  $ hawser room list --json`,
  )
  .action((room: string | undefined, connection: ConnectionOptions) =>
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
          ? "hawser: no rooms yet: who joins one, or posts, makes it"
          : `hawser: nobody is in ${oneLine(room)}`,
      );
    }),
  );

/** All rooms, a page at a time. */
async function* roomsOf(client: Rooms, options: CallOptions): AsyncGenerator<Room> {
  for (let after = ""; ; ) {
    const { rooms, more } = await client.listRooms({ after }, options);
    yield* rooms;
    const last = rooms.at(-1);
    if (!more || last === undefined) return;
    after = last.name;
  }
}

/** All who are in a room, a page at a time. */
async function* membersOf(
  room: string,
  client: Rooms,
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
