import { readFileSync } from "node:fs";
import { Command } from "commander";
import { Code, ConnectError } from "hawser";
import { chat } from "./greeter/chat.ts";
import { collect } from "./greeter/collect.ts";
import { hello } from "./greeter/hello.ts";
import { subscribe } from "./greeter/subscribe.ts";
import { room } from "./rooms/client.ts";
import { serve } from "./server.ts";
import { describe } from "./terminal/report.ts";

const { version } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as { version: string };

/** The command line: one command for the example server, one for each kind of call to it, one for its rooms. */
export const program = new Command("hawser")
  .description("Serves the example Greeter and chat rooms over gRPC, and calls them.")
  .version(version)
  .addHelpText(
    "after",
    `
Examples:
  $ hawser serve                              serve on 127.0.0.1:50051
  $ hawser chat --count 5                     send five messages, print the replies
  $ hawser chat                               type the messages yourself
  $ hawser subscribe --count 3 --interval 1s  let the server speak
  $ hawser room join lobby --name ada         talk with others`,
  );

for (const command of [serve, chat, subscribe, collect, hello, room]) program.addCommand(command);

// Bad arguments are told like every other failure: one line, with its code.
for (const command of [program, ...program.commands, ...room.commands]) {
  command.configureOutput({
    outputError: (text, write) => {
      const message = text
        .trim()
        .replace(/^error: /, "")
        .replaceAll("\n", " ")
        // The user and password of an address stay out of what is told of it.
        .replace(/:\/\/.*@(?=.* is invalid)/, "://…@");
      const json = process.argv.includes("--json");
      write(describe(new ConnectError(message, Code.InvalidArgument), { json }));
    },
  });
}
