import { RoomService, WatchResponseSchema } from "hawser/gen/chat/v1/room_pb.js";
import { call, connectionOptions } from "../../terminal/call.ts";
import { command } from "../../terminal/command.ts";
import { printLine, toJsonLine } from "../../terminal/output.ts";
import { argument, option } from "../../terminal/parameter.ts";
import { announceResuming } from "../../terminal/resuming.ts";
import { readCount } from "../../terminal/values.ts";
import { appearanceOn } from "./appearance.ts";
import { lineOf } from "./event-line.ts";
import { beginOf, beginOptions, readName } from "./options.ts";
import { Roster } from "./roster.ts";

export const watch = command({
  program: "room",
  usage: "npm run room -- watch",
  about: "Prints the events of a room as they come, and resumes after a lost connection.",
  arguments: { room: argument("<room>", "the room", readName) },
  options: {
    ...beginOptions,
    count: option("<number>", "stop after this many messages (0: run until Ctrl-C)", {
      read: readCount,
      otherwise: 0,
    }),
    ...connectionOptions,
  },
  more: `
When the connection is lost, or the server starts again, watch continues after
the last printed message: none is skipped or repeated.

Examples:
  $ npm run room -- watch lobby
  $ npm run room -- watch lobby --oldest --count 10
  $ npm run --silent room -- watch lobby --json | jq -r .cursor`,
  run: ({ room, count, ...options }) =>
    call(RoomService, options, async ({ client, options: callOptions }) => {
      const { json } = options;
      const events = client.watch({ room, ...beginOf(options) }, callOptions);
      announceResuming(events, json);
      const look = appearanceOn(process.stdout);
      const roster = new Roster();
      let messages = 0;
      for await (const response of events) {
        const news = roster.observe(response.event);
        const line = json
          ? toJsonLine(WatchResponseSchema, response)
          : news && lineOf(response.event, look);
        if (line) await printLine(line);
        if (response.event.case === "message" && ++messages === count) break;
      }
    }),
});
