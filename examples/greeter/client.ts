/** The terminal client of Greeter: `npm run greeter -- --help`. */
import { group, main } from "../terminal/command.ts";

const greeter = group({
  program: "greeter",
  usage: "npm run greeter --",
  about: "Calls the example Greeter over gRPC: a command for each kind of call.",
  commands: {
    chat: async () => (await import("./chat.ts")).chat,
    subscribe: async () => (await import("./subscribe.ts")).subscribe,
    collect: async () => (await import("./collect.ts")).collect,
    hello: async () => (await import("./hello.ts")).hello,
  },
  more: `
Examples:
  $ npm start                                             the server
  $ npm run chat                                          type the messages yourself
  $ npm run chat -- --count 5                             send five, print the replies
  $ npm run greeter -- subscribe --count 3 --interval 1s  let the server send`,
});

await main(greeter);
