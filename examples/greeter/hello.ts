import { Greeter, MessageResponseSchema } from "hawser/gen/example/greeter_pb.js";
import { type ConnectionOptions, call, callingCommand } from "../terminal/call.ts";
import { oneLine, printLine, toJsonLine } from "../terminal/output.ts";

export const hello = callingCommand("hello")
  .description("Says hello once: a unary call.")
  .argument("[name]", "who says it", "world")
  .addHelpText(
    "after",
    `
Examples:
  $ hawser hello
  $ hawser hello Ada --timeout 2s`,
  )
  .action((name: string, connection: ConnectionOptions) =>
    call(Greeter, connection, async ({ client, options }) => {
      const response = await client.sayHello({ content: name }, options);
      await printLine(
        connection.json
          ? toJsonLine(MessageResponseSchema, response)
          : `Server says: ${oneLine(response.reply)}`,
      );
    }),
  );
