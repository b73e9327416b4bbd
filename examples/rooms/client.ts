import { Command } from "commander";
import { importCommand } from "./client/import.ts";
import { join } from "./client/join.ts";
import { list } from "./client/list.ts";
import { post } from "./client/post.ts";
import { watch } from "./client/watch.ts";

export const room = new Command("room")
  .description("Chat rooms whose messages are kept: join, watch, post, import, list.")
  .addHelpText(
    "after",
    `
Examples:
  $ hawser room join lobby --name ada     talk: a line a message
  $ hawser room watch lobby --oldest      everything that was said, and what follows
  $ hawser room post lobby "dinner at 7"  say one thing
  $ hawser room import lobby log.txt      a line a message, many of them
  $ hawser room list                      the rooms, and how many are in them`,
  );

for (const command of [join, watch, post, importCommand, list]) room.addCommand(command);
