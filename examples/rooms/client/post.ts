import { randomUUID } from "node:crypto";
import { Code, ConnectError } from "hawser";
import { PostResponseSchema, RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { call, connectionOptions } from "../../terminal/call.ts";
import { command } from "../../terminal/command.ts";
import { type Input, lines, openInput } from "../../terminal/input.ts";
import { printLine, toJsonLine } from "../../terminal/output.ts";
import { argument, option, restArguments, Unreadable } from "../../terminal/parameter.ts";
import { Unfinished } from "../../terminal/unfinished.ts";
import { nameOption, readName } from "./options.ts";
import { counted } from "./progress.ts";
import { unfit } from "./typed.ts";

/** The progress of a post, of one message or of many. */
interface PostProgress {
  readonly first: bigint;
  /** The number of the message that is posted now, or next. */
  sequence: bigint;
  /**
   * The input line of the message that is posted now, or was posted most recently; `undefined` if
   * the message is an argument.
   */
  line: number | undefined;
  /** Whether the message is on its way, and not yet known to be stored. */
  isUnderWay: boolean;
}

/** If a call ends with one of these codes, its message may be stored nevertheless. */
const UNSURE: ReadonlySet<Code> = new Set([
  Code.Canceled,
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

export const post = command({
  program: "room",
  usage: "npm run room -- post",
  about: "Adds a message to a room: a unary call that is safe to repeat.",
  arguments: {
    room: argument("<room>", "the room", readName),
    text: restArguments("[text...]", "the message; - or none: each line of stdin is one"),
  },
  options: {
    name: nameOption,
    producer: option("<id>", "the id that numbers the messages (default: a random id)", {
      read: readName,
    }),
    sequence: option("<number>", "with --producer: the number of the first message", {
      read: readSequence,
    }),
    ...connectionOptions,
  },
  more: `
A message that is posted again by the same --producer with the same --sequence
is not added again; take an id that others cannot guess. Empty lines of stdin
are left out. A post that stops in the middle says how to continue without
adding a message twice.

Examples:
  $ npm run room -- post lobby hello everybody --name ada
  $ uptime | npm run room -- post status
  $ npm run room -- post lobby "release 1.2" --producer "$(uuidgen)" --sequence 12`,
  run: ({ room, text, ...options }) =>
    call(RoomService, options, async ({ client, options: callOptions }) => {
      const { json } = options;
      const { name, producer = randomUUID(), sequence: first = 1n } = options;
      if ((options.producer === undefined) !== (options.sequence === undefined)) {
        throw new ConnectError(
          "--producer and --sequence belong together: give both",
          Code.InvalidArgument,
        );
      }
      const fromInput = text.length === 0 || (text.length === 1 && text[0] === "-");
      const texts = fromInput
        ? linesToPost(await openInput("-"), callOptions.signal)
        : [{ line: undefined, text: text.join(" ") }];
      const progress: PostProgress = { first, sequence: first, line: undefined, isUnderWay: false };
      let repeats = 0n;
      try {
        for await (const { line, text } of texts) {
          Object.assign(progress, { line, isUnderWay: true });
          const { sequence } = progress;
          const response = await client.post({ room, name, text, producer, sequence }, callOptions);
          Object.assign(progress, { sequence: sequence + 1n, isUnderWay: false });
          if (response.repeated) repeats++;
          if (json) await printLine(toJsonLine(PostResponseSchema, response));
        }
        callOptions.signal.throwIfAborted();
      } catch (error) {
        const advice = howToContinue(error, progress, producer);
        throw advice === undefined ? error : new Unfinished(error, advice);
      }
      if (!json) await printLine(summary(progress.sequence - first, repeats));
    }),
});

/** The lines of an input that can be messages; fails at one that cannot. */
async function* linesToPost(input: Input, signal: AbortSignal) {
  let line = 0;
  for await (const text of lines(input, signal)) {
    line++;
    if (text === "") continue;
    const wrong = unfit(text);
    if (wrong !== undefined) {
      throw new ConnectError(`line ${line} of ${input.name}: ${wrong}`, Code.InvalidArgument);
    }
    yield { line, text };
  }
}

/** Tells how to post the rest without storing a message twice. Returns `undefined` if no message was posted. */
function howToContinue(
  error: unknown,
  progress: PostProgress,
  producer: string,
): string | undefined {
  const { first, sequence, line, isUnderWay } = progress;
  const isUnsure = isUnderWay && mayBeStored(error);
  if (!isUnsure && sequence === first) return undefined;
  const numbers = `--producer ${producer} --sequence ${sequence}`;
  if (line !== undefined) {
    return (
      `posted ${counted(sequence - first)}; to post the rest, and no message twice, ` +
      `continue with line ${isUnderWay ? line : line + 1} and ${numbers}`
    );
  }
  return isUnsure
    ? `it may be posted: post it again with ${numbers}, which does not add it twice`
    : undefined;
}

function mayBeStored(error: unknown): boolean {
  const { code, rawMessage } = ConnectError.from(error);
  return UNSURE.has(code) && !/^cannot reach|can be reached/.test(rawMessage);
}

function summary(messages: bigint, repeats: bigint): string {
  const before =
    repeats === 0n ? "" : `, ${repeats} ${repeats === 1n ? "was" : "were"} there before`;
  return `posted ${messages} message${messages === 1n ? "" : "s"}${before}`;
}

function readSequence(text: string): bigint {
  if (/^[1-9]\d{0,15}$/.test(text)) return BigInt(text);
  throw new Unreadable("write a whole number from 1 on, of 16 digits at most");
}
