#!/usr/bin/env node
/** `npx hawser`: makes projects, and calls servers. It uses the package as its users do. */
import { group, main } from "../examples/terminal/command.ts";

const hawser = group({
  program: "hawser",
  usage: "npx hawser",
  about: "Makes projects with a streaming gRPC service, and calls such services.",
  commands: {
    init: async () => (await import("./init.ts")).init,
    call: async () => (await import("./call.ts")).call,
    list: async () => (await import("./list.ts")).list,
  },
  more: `
Examples:
  $ npx hawser init my-service
  $ npx hawser init chat --template rooms
  $ npx hawser list http://127.0.0.1:50051
  $ npx hawser call http://127.0.0.1:50051 example.Greeter/Chat

Exit codes: 0 success, 1 failure, 2 a command line that is not valid,
130 Ctrl-C.`,
});

await main(hawser, { usageExitCode: 2 });
