import { anywhere, type Runtime, runtime, setRuntime, unref } from "../flow/runtime.ts";

/** Longer texts are decoded by a TextDecoder, which takes several times as long for a few bytes. */
const SHORT_TEXT_BYTES = 64;

const ascii = new TextDecoder();

/**
 * Returns a function that runs others, each in a task of its own, in order. A timer would wait for 4 ms, and for a second
 * or more in a hidden tab.
 */
function inTasks({ port1, port2 }: MessageChannel): (run: () => void) => void {
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  unref(port1);
  return (run) => {
    waiting.push(run);
    port2.postMessage(undefined);
  };
}

/** Makes texts of several characters at a time: one by one makes a text that nobody keeps of each character. */
function shortText(bytes: Uint8Array, start: number, end: number): string {
  const code = (at: number) => bytes[at] as number;
  let text = "";
  let at = start;
  for (; at + 8 <= end; at += 8) {
    text += String.fromCharCode(
      code(at),
      code(at + 1),
      code(at + 2),
      code(at + 3),
      code(at + 4),
      code(at + 5),
      code(at + 6),
      code(at + 7),
    );
  }
  for (; at < end; at++) text += String.fromCharCode(code(at));
  return text;
}

const inTask = inTasks(new MessageChannel());

/** How many microtasks after a small message its answer is written, if the program answers without waiting. */
const ANSWER_MICROTASKS = 12;

/**
 * Decides when output is written. A browser has nothing that follows all microtasks of a task, and each send() that waits
 * resumes in a microtask of its own: what is written by a microtask is one message at a time. So output is written in a task of
 * its own. Only what a small message causes is written some microtasks after it: the server may wait for that, and another task
 * would make the round trip longer.
 */
class Writes {
  #microtasksLeft = 0;
  #answers: (() => void)[] = [];

  /** To be called when a small message has arrived, before it is handled. */
  expectAnswer(): void {
    if (this.#microtasksLeft === 0) queueMicrotask(this.#count);
    this.#microtasksLeft = ANSWER_MICROTASKS;
  }

  readonly schedule = (run: () => void): void => {
    if (this.#microtasksLeft > 0) this.#answers.push(run);
    else inTask(run);
  };

  readonly #count = (): void => {
    if (--this.#microtasksLeft > 0) {
      queueMicrotask(this.#count);
      return;
    }
    const answers = this.#answers;
    this.#answers = [];
    for (const run of answers) queueMicrotask(run);
  };
}

/** Those of all WebSockets of the page. */
export const writes: Writes = new Writes();

/** A page, or a worker of one. */
export const webRuntime: Runtime = {
  ...anywhere,
  inLaterTurn: inTask,
  afterMicrotasks: writes.schedule,
  asciiText(bytes, start, end) {
    if (end - start > SHORT_TEXT_BYTES) return ascii.decode(bytes.subarray(start, end));
    return shortText(bytes, start, end);
  },
};

// On Node `hawser/web` may be used beside `hawser`, whose runtime is the better one there.
if (runtime === anywhere) setRuntime(webRuntime);

// Older browsers lack explicit resource management; the symbols are those that compilers of `using` look for then.
for (const name of ["dispose", "asyncDispose"]) {
  if (name in Symbol) continue;
  Object.defineProperty(Symbol, name, { value: Symbol.for(`Symbol.${name}`) });
}
