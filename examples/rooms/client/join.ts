import { Code, ConnectError } from "hawser";
import { JoinResponseSchema, RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { call, connectionOptions } from "../../terminal/call.ts";
import { command } from "../../terminal/command.ts";
import { lines, openInput } from "../../terminal/input.ts";
import { toJsonLine } from "../../terminal/output.ts";
import { argument } from "../../terminal/parameter.ts";
import { programLine } from "../../terminal/program.ts";
import { openPrompt, type Speaker, speakerOf } from "../../terminal/prompt.ts";
import { resumingNotes } from "../../terminal/resuming.ts";
import { appearanceOn } from "./appearance.ts";
import { Attendance } from "./attendance.ts";
import { lineOf } from "./event-line.ts";
import { beginOf, beginOptions, nameOption, readName } from "./options.ts";
import { Roster } from "./roster.ts";
import { unfit } from "./typed.ts";
import { TYPING_MS, Typists } from "./typists.ts";

export const join = command({
  program: "room",
  usage: "npm run room -- join",
  about: "Takes part in a room: a bidirectional call that outlives the server.",
  arguments: { room: argument("<room>", "the room", readName) },
  options: { name: nameOption, ...beginOptions, ...connectionOptions },
  more: `
On a terminal, each line is a message: Ctrl-D leaves, Ctrl-C cancels. From a
pipe, each line is a message, and the command ends when all of them are stored.
Empty lines are left out.

When the connection is lost, or the server starts again, it joins again by
itself, until --timeout ends: no message is skipped or repeated, and each of
your messages is stored once.

Examples:
  $ npm run room -- join lobby --name ada
  $ npm run room -- join lobby --oldest
  $ tail -f app.log | npm run room -- join logs --name app1`,
  run: ({ room, ...joining }) =>
    call(RoomService, joining, async ({ client, options, interruption }) => {
      let onTyping = () => {};
      using speaker = process.stdin.isTTY
        ? openPrompt(
            () => interruption.interrupt("SIGINT"),
            () => onTyping(),
          )
        : await pipedSpeaker();
      const opening = { room, name: joining.name, ...beginOf(joining) };
      const notes = resumingNotes(joining.json, speaker.note);
      const attendance = new Attendance(client, opening, { callOptions: options, notes });
      onTyping = atMostEvery(TYPING_MS, () => attendance.type());
      await attend(attendance, speaker, joining);
    }),
});

async function pipedSpeaker(): Promise<Speaker> {
  const input = await openInput("-");
  return speakerOf((over) => lines(input, over));
}

function atMostEvery(ms: number, act: () => void): () => void {
  let lastAt = Number.NEGATIVE_INFINITY;
  return () => {
    if (performance.now() - lastAt < ms) return;
    lastAt = performance.now();
    act();
  };
}

/** Sends the messages of the speaker and prints the events of the room, both at their own pace. */
async function attend(
  attendance: Attendance,
  speaker: Speaker,
  { json, name }: { json: boolean; name: string },
): Promise<void> {
  const over = new AbortController();
  const onTerminal = process.stdin.isTTY;
  const look = appearanceOn(process.stdout);
  const roster = new Roster();

  const listen = async () => {
    using typists = new Typists(name, (text) =>
      speaker.hint?.(text === "" ? "" : look.remark(text)),
    );
    try {
      for await (const { response, own } of attendance) {
        typists.observe(response.event);
        // The line that was typed is on the screen already.
        const news = roster.observe(response.event) && !(own && onTerminal);
        const line = json
          ? toJsonLine(JoinResponseSchema, response)
          : news && lineOf(response.event, look);
        if (line) await speaker.print(line);
      }
    } finally {
      over.abort();
    }
  };
  const speak = async () => {
    let line = 0;
    try {
      for await (const text of speaker.messages(over.signal)) {
        line++;
        const wrong = unfit(text);
        if (wrong === undefined) {
          if (text !== "") await attendance.say(text);
        } else if (onTerminal) {
          speaker.note(programLine(`not sent: ${wrong}`));
        } else {
          throw new ConnectError(`line ${line} of standard input: ${wrong}`, Code.InvalidArgument);
        }
      }
    } finally {
      // Half-close also if the input failed, so that the messages before the failure are stored.
      attendance.leave();
    }
  };

  const [listened, spoke] = await Promise.allSettled([listen(), speak()]);
  if (spoke.status === "rejected") throw spoke.reason;
  if (listened.status === "rejected") throw listened.reason;
}
