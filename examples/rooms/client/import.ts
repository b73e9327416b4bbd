import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Sink } from "hawser";
import {
  type ImportRequestSchema,
  type ImportResponse,
  ImportResponseSchema,
  RoomService,
} from "hawser/gen/chat/v1/room_pb.js";
import { pause } from "../../pause.ts";
import { type Call, call, connectionOptions } from "../../terminal/call.ts";
import { command } from "../../terminal/command.ts";
import { type Input, lines, openInput } from "../../terminal/input.ts";
import { printLine, toJsonLine } from "../../terminal/output.ts";
import { argument, flag, option } from "../../terminal/parameter.ts";
import { resumingNotes } from "../../terminal/resuming.ts";
import { Unfinished } from "../../terminal/unfinished.ts";
import { nameOption, readName } from "./options.ts";
import { counted, grouped, Progress } from "./progress.ts";
import { backoffMs, canRejoin, countdown } from "./rejoin.ts";
import { unfit } from "./typed.ts";

type ImportRequest = MessageInitShape<typeof ImportRequestSchema>;

export const importCommand = command({
  program: "room",
  usage: "npm run room -- import",
  about: "Adds many messages to a room, one line per message: a client-streaming call.",
  arguments: {
    room: argument("<room>", "the room", readName),
    file: argument("<file>", "the messages, in UTF-8; - is standard input"),
  },
  options: {
    name: nameOption,
    jsonLines: flag('each line is a JSON object: {"name": "ada", "text": "hello"}'),
    producer: option(
      "<id>",
      "import again with the same id to add only what is missing (default: a random id)",
      { read: readName },
    ),
    ...connectionOptions,
  },
  more: `
Empty lines are left out. An import continues when its connection is lost. When
the server starts again in the middle, a file is imported again from its
beginning, and its messages are not added twice.

Examples:
  $ npm run room -- import lobby notes.txt --name ada
  $ npm run room -- import lobby history.jsonl --json-lines --producer "$(uuidgen)"
  $ seq 10000 | npm run room -- import numbers -`,
  run: ({ room, file: path, ...options }) =>
    call(RoomService, options, async (rooms) => {
      const { json } = options;
      const { name, jsonLines, producer = randomUUID() } = options;
      const startedAt = performance.now();
      const source = { path, jsonLines };
      const opening = { room, name, producer };
      const response = await importAll(opening, source, { json, ...rooms });
      const seconds = (performance.now() - startedAt) / 1000;
      const rate = Number(response.messages) / Math.max(seconds, 0.001);
      const before = `${grouped(response.repeated)} ${response.repeated === 1n ? "was" : "were"}`;
      await printLine(
        json
          ? toJsonLine(ImportResponseSchema, response)
          : `imported ${counted(response.messages)} in ${seconds.toFixed(1)} s ` +
              `(${grouped(rate)} a second), ${before} there before`,
      );
    }),
});

/** The source of the messages. */
interface Source {
  path: string;
  jsonLines: boolean;
}

/** The fields that the first request sets for all. */
interface Opening {
  room: string;
  name: string;
  producer: string;
}

/**
 * Imports the whole source, and once more after each time that the server was unreachable, if the
 * source can be read again. The pauses between grow, because each time all of it may be sent. An
 * import that gives up after its first message throws Unfinished.
 */
async function importAll(
  opening: Opening,
  source: Source,
  { client, options, json }: Call<typeof RoomService> & { json?: boolean | undefined },
): Promise<ImportResponse> {
  const timeLeft = countdown(options.timeoutMs);
  const shown = process.stderr.isTTY && !json;
  let progress: Progress | undefined;
  const notes = resumingNotes(json, (line) => progress?.note(line));
  let reached = false;
  let begun = false;
  try {
    for (let attempt = 0; ; attempt++) {
      const input = await openInput(source.path);
      const sink = client.import({ ...options, timeoutMs: timeLeft() });
      sink.onState((state) => {
        if (state === "resuming") notes.away();
        if (state !== "open") return;
        reached = true;
        notes.back();
      });
      progress = new Progress(shown, input.bytes);
      try {
        return await importOnce(sink, input, { opening, jsonLines: source.jsonLines, progress });
      } catch (error) {
        const isAway = canRejoin(error);
        begun ||= progress.messages > 0 && (reached || !isAway);
        if (!reached || !isAway || options.signal.aborted || source.path === "-") throw error;
        notes.away();
      } finally {
        progress[Symbol.dispose]();
        input.stream.destroy();
      }
      await pause(backoffMs(attempt), options.signal);
    }
  } catch (error) {
    throw begun ? new Unfinished(error, howToContinue(opening)) : error;
  }
}

interface Work {
  opening: Opening;
  jsonLines: boolean;
  progress: Progress;
}

async function importOnce(
  sink: Sink<ImportRequest, ImportResponse>,
  input: Input,
  work: Work,
): Promise<ImportResponse> {
  const { progress } = work;
  // The call can end while the input has no data: then no more is read.
  const over = new AbortController();
  progress.onTick = () => {
    if (sink.state === "closed") over.abort();
  };
  try {
    for await (const request of requestsOf(input, work, over.signal)) {
      await sink.send(request);
      progress.messages++;
    }
  } catch (error) {
    // If the call has ended, its status has the reason.
    if (sink.state !== "closed") {
      sink.cancel(error);
      throw error;
    }
  }
  const response = await sink.finish();
  if (response.messages === BigInt(progress.messages)) return response;
  throw new ConnectError(
    `the server ended the import after ${response.messages} of ${progress.messages} messages: ` +
      "its log may say why",
    Code.FailedPrecondition,
  );
}

/** The lines of an input as requests: the first has all fields, the others those that differ. */
async function* requestsOf(
  input: Input,
  { opening, jsonLines, progress }: Work,
  over: AbortSignal,
): AsyncGenerator<ImportRequest> {
  let number = 0;
  let before: string | undefined;
  for await (const line of lines(input, over)) {
    number++;
    progress.bytes += Buffer.byteLength(line) + 1;
    if (line === "") continue;
    const where = `line ${number} of ${input.name}`;
    const { name, text } = jsonLines
      ? readJsonLine(line, opening.name, where)
      : { name: opening.name, text: line };
    const wrong = unfit(text);
    if (wrong !== undefined) throw new ConnectError(`${where}: ${wrong}`, Code.InvalidArgument);
    if (before === undefined) yield { ...opening, name, text };
    else yield name === before ? { text } : { name, text };
    before = name;
  }
}

function readJsonLine(
  line: string,
  otherwise: string,
  where: string,
): { name: string; text: string } {
  try {
    const { name = otherwise, text } = JSON.parse(line);
    if (typeof text === "string" && text !== "" && typeof name === "string") {
      return { name: readName(name), text };
    }
  } catch {
    // Reported below, as JSON that is not a message.
  }
  throw new ConnectError(
    `${where} is not a message: write it as {"name": "ada", "text": "hello"}; the name may be left out`,
    Code.InvalidArgument,
  );
}

function howToContinue({ producer }: Opening): string {
  return (
    "some of the messages may be imported already: import all of them again with " +
    `--producer ${producer}, which adds only those that are missing`
  );
}
