import type { MessageInitShape } from "@bufbuild/protobuf";
import { Option } from "commander";
import { Code, ConnectError, type Duplex } from "hawser";
import {
  Greeter,
  type MessageRequestSchema,
  type MessageResponse,
  MessageResponseSchema,
} from "hawser/gen/example/greeter_pb.js";
import { pause } from "../pause.ts";
import { type ConnectionOptions, call, callingCommand } from "../terminal/call.ts";
import { lines, openInput } from "../terminal/input.ts";
import type { Interruption } from "../terminal/interruption.ts";
import { oneLine, toJsonLine } from "../terminal/output.ts";
import { openPrompt, type Speaker, speakerOf } from "../terminal/prompt.ts";
import { announceResuming } from "../terminal/resuming.ts";
import { readCount, readDuration } from "../terminal/values.ts";

interface ChatOptions extends ConnectionOptions {
  count?: number;
  interval: number;
}

export const chat = callingCommand("chat")
  .description("Sends messages and prints the replies as they come: a bidirectional call.")
  .addOption(
    new Option(
      "--count <number>",
      'send "Message 0", "Message 1" … so many times (default: ask on a terminal, else read stdin)',
    ).argParser(readCount),
  )
  .addOption(
    new Option("--interval <duration>", "with --count: the pause between two messages")
      .argParser(readDuration)
      .default(1000, "1s"),
  )
  .addHelpText(
    "after",
    `
On a terminal, without --count, type a line a message: Ctrl-D ends the
conversation, Ctrl-C cancels it. From a pipe, each line is a message. When the
connection is lost, the conversation goes on over another.

Examples:
  $ hawser chat
  $ hawser chat --count 5 --interval 250ms
  $ seq 3 | hawser chat --json
  $ hawser chat --url https://example.com:443 --count 1 --timeout 5s`,
  )
  .action((chat: ChatOptions) =>
    call(Greeter, chat, async ({ client, options, interruption }) => {
      using speaker = await openSpeaker(chat, interruption);
      const print = (response: MessageResponse) =>
        speaker.print(
          chat.json
            ? toJsonLine(MessageResponseSchema, response)
            : `Server says: ${oneLine(response.reply)}`,
        );
      const conversation = client.chat(options);
      announceResuming(conversation, chat.json, speaker.note);
      await converse(conversation, speaker, print);
    }),
  );

async function openSpeaker(
  { count, interval: intervalMs }: ChatOptions,
  interruption: Interruption,
): Promise<Speaker> {
  if (count === undefined && process.stdin.isTTY) {
    return openPrompt(() => interruption.interrupt("SIGINT"));
  }
  if (count !== undefined) return speakerOf((over) => numbered(count, intervalMs, over));
  const input = await openInput("-");
  return speakerOf((over) => lines(input, over));
}

/** Message 0, Message 1 … up to `count`, with a pause between two. */
async function* numbered(
  count: number,
  intervalMs: number,
  over: AbortSignal,
): AsyncGenerator<string> {
  for (let i = 0; i < count; i++) {
    if (i > 0) await pause(intervalMs, over).catch(() => {});
    if (over.aborted) return;
    yield `Message ${i}`;
  }
}

/**
 * Sends every message of the speaker while it prints the replies, both at
 * their own pace; half-closes behind the last message and reads on to the end.
 */
async function converse(
  chat: Duplex<MessageInitShape<typeof MessageRequestSchema>, MessageResponse>,
  speaker: Speaker,
  print: (response: MessageResponse) => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  let saidAll = false;

  const listen = async () => {
    try {
      for await (const response of chat) await print(response);
    } finally {
      over.abort();
    }
  };
  const speak = async () => {
    try {
      for await (const content of speaker.messages(over.signal)) {
        const sent = await chat.send({ content }).then(
          () => true,
          () => false,
        );
        // The call is over, and the listening half hears why.
        if (!sent) return;
      }
    } catch (error) {
      chat.cancel(error);
      throw error;
    }
    if (over.signal.aborted) return;
    saidAll = true;
    chat.closeSend();
  };

  const [heard, said] = await Promise.allSettled([listen(), speak()]);
  if (said.status === "rejected") throw said.reason;
  if (heard.status === "rejected") throw heard.reason;
  if (saidAll) return;
  throw new ConnectError(
    "the server ended the call before the last message was sent: its log may say why",
    Code.FailedPrecondition,
  );
}
