import { randomUUID } from "node:crypto";
import { InvalidArgumentError, Option } from "commander";
import { PostResponseSchema, RoomService } from "../../../gen/chat/v1/room_pb.js";
import { Code, ConnectError } from "../../index.ts";
import { type ConnectionOptions, call, callingCommand } from "../call.ts";
import { lines, openInput } from "../input.ts";
import { printLine, toJsonLine } from "../output.ts";
import { nameOption, readName } from "./options.ts";

interface PostOptions extends ConnectionOptions {
  name: string;
  producer?: string;
  sequence?: bigint;
}

export const post = callingCommand("post")
  .description("Adds a message to a room: a unary call that is safe to repeat.")
  .argument("<room>", "the room", readName)
  .argument("[text...]", "the message; - or none: each line of stdin is one")
  .addOption(nameOption())
  .addOption(
    new Option("--producer <id>", "who numbers the messages (default: a random id)").argParser(
      readName,
    ),
  )
  .addOption(
    new Option("--sequence <number>", "with --producer: the number of the first message").argParser(
      readSequence,
    ),
  )
  .addHelpText(
    "after",
    `
A message that is posted again by the same --producer with the same --sequence
is not added again. Empty lines of stdin are left out.

Examples:
  $ hawser room post lobby hello everybody --name ada
  $ uptime | hawser room post status
  $ hawser room post lobby "release 1.2" --producer ci --sequence 12 --json`,
  )
  .action((room: string, text: string[], { json, ...options }: PostOptions) =>
    call(RoomService, { json, ...options }, async ({ client, options: callOptions }) => {
      const { name, producer = randomUUID(), sequence: first = 1n } = options;
      if ((options.producer === undefined) !== (options.sequence === undefined)) {
        throw new ConnectError(
          "--producer and --sequence belong together: give both",
          Code.InvalidArgument,
        );
      }
      const fromInput = text.length === 0 || (text.length === 1 && text[0] === "-");
      const texts = fromInput ? lines(await openInput("-"), callOptions.signal) : [text.join(" ")];
      let sequence = first;
      let repeats = 0n;
      for await (const text of texts) {
        if (fromInput && text === "") continue;
        const request = { room, name, text, producer, sequence };
        const response = await client.post(request, callOptions);
        sequence++;
        if (response.repeated) repeats++;
        if (json) await printLine(toJsonLine(PostResponseSchema, response));
      }
      callOptions.signal.throwIfAborted();
      if (!json) await printLine(summary(sequence - first, repeats));
    }),
  );

function summary(messages: bigint, repeats: bigint): string {
  const before =
    repeats === 0n ? "" : `, ${repeats} ${repeats === 1n ? "was" : "were"} there before`;
  return `posted ${messages} message${messages === 1n ? "" : "s"}${before}`;
}

function readSequence(text: string): bigint {
  if (/^[1-9]\d{0,15}$/.test(text)) return BigInt(text);
  throw new InvalidArgumentError("It must be a whole number from 1 on, of 16 digits at most.");
}
