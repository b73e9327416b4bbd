import { fromJsonString, type Message } from "@bufbuild/protobuf";
import { usageError } from "../examples/terminal/command.ts";
import { lines, openInput } from "../examples/terminal/input.ts";
import type { Interruption } from "../examples/terminal/interruption.ts";
import { openPrompt, type Speaker, speakerOf } from "../examples/terminal/prompt.ts";
import { describe } from "../examples/terminal/report.ts";
import { nameOf, type Target } from "./contract.ts";

/** The requests of a method that takes a stream of them. */
export interface Requests extends Disposable {
  readonly speaker: Speaker;
  /** Reads a line of the speaker. Returns `undefined` if it is empty, or is not valid and was typed on a terminal. */
  requestOf(line: string): Message | undefined;
}

/**
 * Opens the requests of a method that takes a stream: those that were typed as arguments, else the lines of stdin. Throws a
 * usageError() if an argument is not valid; requestOf() does so for a line.
 */
export async function openRequests(
  target: Target,
  typed: readonly string[],
  interruption: Interruption,
): Promise<Requests> {
  if (typed.length > 0 && !isInput(typed)) {
    // All of them are read before the call begins.
    for (const text of typed) readRequest(target, text);
    const speaker = speakerOf(async function* () {
      yield* typed;
    });
    return requestsOf(speaker, (text) => readRequest(target, text));
  }
  if (process.stdin.isTTY) {
    const speaker = openPrompt(() => interruption.interrupt("SIGINT"));
    return requestsOf(speaker, (line) => {
      try {
        return readRequest(target, line);
      } catch (error) {
        speaker.note(describe(error, {}).trimEnd());
        return undefined;
      }
    });
  }
  const input = await openInput("-");
  let number = 0;
  const speaker = speakerOf(async function* (closed) {
    for await (const line of lines(input, closed)) {
      number++;
      yield line;
    }
  });
  return requestsOf(speaker, (line) => readRequest(target, line, `line ${number} of stdin`));
}

function requestsOf(speaker: Speaker, read: (line: string) => Message | undefined): Requests {
  return {
    speaker,
    requestOf: (line) => (line.trim() === "" ? undefined : read(line)),
    [Symbol.dispose]: () => speaker[Symbol.dispose](),
  };
}

/**
 * Reads the request of a method that takes one: the argument, for `-` the line on stdin, or without one an empty message.
 * Throws a usageError() if there are several, or if it is not valid.
 */
export async function readOneRequest(
  target: Target,
  typed: readonly string[],
  interruption: Interruption,
): Promise<Message> {
  const texts = isInput(typed) ? await linesOfInput(interruption.signal) : typed;
  if (texts.length > 1) {
    throw usageError(`${nameOf(target.method)} takes one request, not ${texts.length}`);
  }
  return readRequest(target, texts[0] ?? "{}");
}

function isInput(typed: readonly string[]): boolean {
  return typed.length === 1 && typed[0] === "-";
}

async function linesOfInput(signal: AbortSignal): Promise<string[]> {
  const texts: string[] = [];
  for await (const line of lines(await openInput("-"), signal)) {
    if (line.trim() !== "") texts.push(line);
  }
  signal.throwIfAborted();
  return texts;
}

function readRequest({ method, registry }: Target, text: string, what = text): Message {
  try {
    return fromJsonString(method.input, text, { registry });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const plain = reason.replace(/^cannot decode message \S+ from JSON: /, "");
    throw usageError(`${what} is not a request in JSON, of ${method.input.typeName}: ${plain}`);
  }
}
