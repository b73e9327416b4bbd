#!/usr/bin/env node
/** `npx hawser`: makes projects, and calls servers. It uses the package as its users do. */
import { group, isUsageError } from "../examples/terminal/command.ts";
import { report, systemCode } from "../examples/terminal/report.ts";

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

const words = process.argv.slice(2);
try {
  await hawser.run(words);
} catch (error) {
  // EPIPE: the reader of the output has closed it (`| head`).
  if (systemCode(error) !== "EPIPE") {
    report(error, { json: words.includes("--json") });
    if (isUsageError(error)) process.exitCode = 2;
  }
}
