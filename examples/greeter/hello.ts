import { Greeter, MessageResponseSchema } from "hawser/gen/example/greeter_pb.js";
import { call, connectionOptions } from "../terminal/call.ts";
import { command } from "../terminal/command.ts";
import { oneLine } from "../terminal/one-line.ts";
import { printLine, toJsonLine } from "../terminal/output.ts";
import { optionalArgument } from "../terminal/parameter.ts";

export const hello = command({
  program: "greeter",
  usage: "npm run greeter -- hello",
  about: "Says hello once: a unary call.",
  arguments: { name: optionalArgument("[name]", "the name to greet", { otherwise: "world" }) },
  options: connectionOptions,
  more: `
Examples:
  $ npm run greeter -- hello
  $ npm run greeter -- hello Ada --timeout 2s`,
  run: ({ name, ...connection }) =>
    call(Greeter, connection, async ({ client, options }) => {
      const response = await client.sayHello({ content: name }, options);
      await printLine(
        connection.json
          ? toJsonLine(MessageResponseSchema, response)
          : `Server says: ${oneLine(response.reply)}`,
      );
    }),
});
