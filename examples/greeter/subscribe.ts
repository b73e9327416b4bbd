import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Greeter, NotificationSchema } from "hawser/gen/example/greeter_pb.js";
import { call, connectionOptions } from "../terminal/call.ts";
import { command } from "../terminal/command.ts";
import { oneLine } from "../terminal/one-line.ts";
import { printLine, toJsonLine } from "../terminal/output.ts";
import { option } from "../terminal/parameter.ts";
import { announceResuming } from "../terminal/resuming.ts";
import { readCount, readDuration } from "../terminal/values.ts";

export const subscribe = command({
  program: "greeter",
  usage: "npm run greeter -- subscribe",
  about: "Prints the notifications of the server as they come: a server-streaming call.",
  options: {
    count: option("<number>", "stop after this many notifications (0: run until Ctrl-C)", {
      read: readCount,
      otherwise: 0,
    }),
    interval: option(
      "<duration>",
      "the pause between two notifications (default: the server's, 1s)",
      { read: readDuration },
    ),
    ...connectionOptions,
  },
  more: `
Examples:
  $ npm run greeter -- subscribe
  $ npm run greeter -- subscribe --count 10 --interval 250ms
  $ npm run --silent greeter -- subscribe --json | jq .time`,
  run: ({ count, interval: intervalMs, ...connection }) =>
    call(Greeter, connection, async ({ client, options }) => {
      const { json } = connection;
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
});
