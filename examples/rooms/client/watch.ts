import { Option } from "commander";
import { RoomService, WatchResponseSchema } from "hawser/gen/chat/v1/room_pb.js";
import { type ConnectionOptions, call, callingCommand } from "../../terminal/call.ts";
import { printLine, toJsonLine } from "../../terminal/output.ts";
import { announceResuming } from "../../terminal/resuming.ts";
import { readCount } from "../../terminal/values.ts";
import { appearanceOn, lineOf } from "./appearance.ts";
import { afterOption, type BeginOptions, beginOf, oldestOption, readName } from "./options.ts";
import { Roster } from "./roster.ts";

interface WatchOptions extends ConnectionOptions, BeginOptions {
  count: number;
}

export const watch = callingCommand("watch")
  .description("Prints what happens in a room, as it comes: a push that continues.")
  .argument("<room>", "the room", readName)
  .addOption(oldestOption())
  .addOption(afterOption())
  .addOption(
    new Option("--count <number>", "end after so many messages; 0 means at Ctrl-C")
      .argParser(readCount)
      .default(0),
  )
  .addHelpText(
    "after",
    `
When the connection is lost, or the server starts again, it goes on behind the
last message that it printed: none is left out, none comes twice.

Examples:
  $ hawser room watch lobby
  $ hawser room watch lobby --oldest --count 10
  $ hawser room watch lobby --json | jq -r .cursor`,
  )
  .action((room: string, { count, json, ...options }: WatchOptions) =>
    call(RoomService, { json, ...options }, async ({ client, options: callOptions }) => {
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
  );
