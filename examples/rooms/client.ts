/** The terminal client of the chat rooms: `npm run room -- --help`. */
import { group, main } from "../terminal/command.ts";

const room = group({
  program: "room",
  usage: "npm run room --",
  about: "Chat rooms whose messages are kept: join, watch, post, import, list.",
  commands: {
    join: async () => (await import("./client/join.ts")).join,
    watch: async () => (await import("./client/watch.ts")).watch,
    post: async () => (await import("./client/post.ts")).post,
    import: async () => (await import("./client/import.ts")).importCommand,
    list: async () => (await import("./client/list.ts")).list,
  },
  more: `
Examples:
  $ npm start                                   the server
  $ npm run room -- join lobby --name ada       talk: each line is a message
  $ npm run room -- watch lobby --oldest        all messages so far, and the next ones
  $ npm run room -- post lobby "dinner at 7"    post one message
  $ npm run room -- import lobby notes.txt      post each line as a message
  $ npm run room -- list                        the rooms, with the count of their members`,
});

await main(room);
