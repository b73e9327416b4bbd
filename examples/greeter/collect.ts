import { CollectResponseSchema, Greeter } from "hawser/gen/example/greeter_pb.js";
import { call, connectionOptions } from "../terminal/call.ts";
import { command } from "../terminal/command.ts";
import { lines, openInput } from "../terminal/input.ts";
import { printLine, toJsonLine } from "../terminal/output.ts";
import { argument } from "../terminal/parameter.ts";

export const collect = command({
  program: "greeter",
  usage: "npm run greeter -- collect",
  about: "Sends a text, one line per message, and prints the server's count: client streaming.",
  arguments: { file: argument("<file>", "the text, in UTF-8; - is standard input") },
  options: connectionOptions,
  more: `
Examples:
  $ npm run greeter -- collect notes.txt
  $ seq 1000000 | npm run greeter -- collect - --json`,
  run: ({ file, ...connection }) =>
    call(Greeter, connection, async ({ client, options }) => {
      const input = await openInput(file);
      // The call can end while the input has no data: reading must then stop.
      const closed = new AbortController();
      const response = await client
        .collect(messages(lines(input, closed.signal)), options)
        .finally(() => closed.abort());
      await printLine(
        connection.json
          ? toJsonLine(CollectResponseSchema, response)
          : `Server counted: ${response.count} messages, ${response.bytes} bytes`,
      );
    }),
});

/** Makes requests of lines. The call pulls them one by one, so the text is read only as fast as the server accepts it. */
async function* messages(contents: AsyncIterable<string>) {
  for await (const content of contents) yield { content };
}
