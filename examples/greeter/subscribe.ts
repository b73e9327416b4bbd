import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Option } from "commander";
import { Greeter, NotificationSchema } from "hawser/gen/example/greeter_pb.js";
import { type ConnectionOptions, call, callingCommand } from "../terminal/call.ts";
import { oneLine, printLine, toJsonLine } from "../terminal/output.ts";
import { announceResuming } from "../terminal/resuming.ts";
import { readCount, readDuration } from "../terminal/values.ts";

interface SubscribeOptions extends ConnectionOptions {
  count: number;
  interval?: number;
}

export const subscribe = callingCommand("subscribe")
  .description("Prints what the server pushes, as it comes: a server-streaming call.")
  .addOption(
    new Option("--count <number>", "end after so many notifications; 0 means at Ctrl-C")
      .argParser(readCount)
      .default(0),
  )
  .addOption(
    new Option(
      "--interval <duration>",
      "the pause between two notifications (default: the server's, 1s)",
    ).argParser(readDuration),
  )
  .addHelpText(
    "after",
    `
Examples:
  $ hawser subscribe
  $ hawser subscribe --count 10 --interval 250ms
  $ hawser subscribe --json | jq .time`,
  )
  .action((subscription: SubscribeOptions) =>
    call(Greeter, subscription, async ({ client, options }) => {
      const { count, interval: intervalMs, json } = subscription;
      const interval = intervalMs === undefined ? undefined : durationFromMs(intervalMs);
      const notifications = client.subscribe({ count, interval }, options);
      announceResuming(notifications, json);
      for await (const notification of notifications) {
        await printLine(
          json
            ? toJsonLine(NotificationSchema, notification)
            : `Server says: ${oneLine(notification.content)}`,
        );
      }
    }),
  );
