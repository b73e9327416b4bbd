import {
  Greeter,
  type MessageResponse,
  MessageResponseSchema,
} from "hawser/gen/example/greeter_pb.js";
import { pause } from "../pause.ts";
import { call, connectionOptions } from "../terminal/call.ts";
import { command } from "../terminal/command.ts";
import { converse } from "../terminal/converse.ts";
import { lines, openInput } from "../terminal/input.ts";
import type { Interruption } from "../terminal/interruption.ts";
import { oneLine } from "../terminal/one-line.ts";
import { toJsonLine } from "../terminal/output.ts";
import { option, type Values } from "../terminal/parameter.ts";
import { programLine } from "../terminal/program.ts";
import { openPrompt, type Speaker, speakerOf } from "../terminal/prompt.ts";
import { announceResuming } from "../terminal/resuming.ts";
import { readCount, readDuration, readInterval } from "../terminal/values.ts";
import { Cutter } from "./cutter.ts";

const chatOptions = {
  count: option(
    "<number>",
    'send this many messages: "Message 0", "Message 1" … (default: ask on a terminal, else read stdin)',
    { read: readCount },
  ),
  interval: option("<duration>", "with --count: the pause between two messages", {
    read: readDuration,
    otherwise: 1000,
    shown: "1s",
  }),
  cutEvery: option(
    "<duration>",
    "cut the TCP connection again and again, to see that the conversation continues",
    { read: readInterval },
  ),
  ...connectionOptions,
};

export const chat = command({
  program: "chat",
  usage: "npm run chat --",
  about: "Sends messages and prints the replies as they come: a bidirectional call.",
  options: chatOptions,
  more: `
On a terminal, without --count, type one line per message: Ctrl-D ends the
conversation, Ctrl-C cancels it. From a pipe, each line is a message. When the
connection is lost, the conversation continues over another.

Examples:
  $ npm run chat
  $ npm run chat -- --count 5 --interval 250ms
  $ npm run chat -- --count 20 --cut-every 2s
  $ seq 3 | npm run --silent chat -- --json
  $ npm run chat -- --url https://example.com:443 --count 1 --timeout 5s`,
  async run({ count, interval, cutEvery, ...connection }) {
    const { json } = connection;
    await using cutter =
      cutEvery === undefined ? undefined : await Cutter.open(connection.url, cutEvery);
    const url = cutter?.urls ?? connection.url;
    await call(Greeter, { ...connection, url }, async ({ client, options, interruption }) => {
      using speaker = await openSpeaker({ count, interval }, interruption);
      const replies = { count: 0 };
      const print = (response: MessageResponse) => {
        replies.count++;
        return speaker.print(
          json
            ? toJsonLine(MessageResponseSchema, response)
            : `Server says: ${oneLine(response.reply)}`,
        );
      };
      const conversation = client.chat(options);
      announceResuming(conversation, json, speaker.note);
      cutter?.start(conversation);
      const requestOf = (content: string) => ({ content });
      const sent = await converse(conversation, speaker, { requestOf, print });
      if (cutter === undefined) return;
      const { cuts } = cutter;
      speaker.note(
        json
          ? JSON.stringify({ sent, replies: replies.count, cuts })
          : programLine(
              `${sent} messages sent, ${replies.count} replies, ${cuts} connections cut meanwhile`,
            ),
      );
    });
  },
});

async function openSpeaker(
  { count, interval: intervalMs }: Pick<Values<typeof chatOptions>, "count" | "interval">,
  interruption: Interruption,
): Promise<Speaker> {
  if (count === undefined && process.stdin.isTTY) {
    return openPrompt(() => interruption.interrupt("SIGINT"));
  }
  if (count !== undefined) return speakerOf((closed) => numbered(count, intervalMs, closed));
  const input = await openInput("-");
  return speakerOf((closed) => lines(input, closed));
}

/** Yields `count` messages (Message 0, Message 1 …), with a pause between two. */
async function* numbered(
  count: number,
  intervalMs: number,
  closed: AbortSignal,
): AsyncGenerator<string> {
  for (let i = 0; i < count; i++) {
    if (i > 0) await pause(intervalMs, closed).catch(() => {});
    if (closed.aborted) return;
    yield `Message ${i}`;
  }
}
