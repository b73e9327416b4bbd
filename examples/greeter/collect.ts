import { CollectResponseSchema, Greeter } from "hawser/gen/example/greeter_pb.js";
import { type ConnectionOptions, call, callingCommand } from "../terminal/call.ts";
import { lines, openInput } from "../terminal/input.ts";
import { printLine, toJsonLine } from "../terminal/output.ts";

export const collect = callingCommand("collect")
  .description("Sends a text, a line a message, and prints what came: a client-streaming call.")
  .argument("<file>", "the text, in UTF-8; - is standard input")
  .addHelpText(
    "after",
    `
Examples:
  $ hawser collect notes.txt
  $ seq 1000000 | hawser collect - --json`,
  )
  .action((path: string, connection: ConnectionOptions) =>
    call(Greeter, connection, async ({ client, options }) => {
      const input = await openInput(path);
      // The call can end while the input says nothing: then nothing more is read.
      const over = new AbortController();
      const response = await client
        .collect(messages(lines(input, over.signal)), options)
        .finally(() => over.abort());
      await printLine(
        connection.json
          ? toJsonLine(CollectResponseSchema, response)
          : `Server counted: ${response.count} messages, ${response.bytes} bytes`,
      );
    }),
  );

/** Sent as they are taken: no more is read of the text than the server has room for. */
async function* messages(contents: AsyncIterable<string>) {
  for await (const content of contents) yield { content };
}
