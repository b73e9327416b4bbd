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

const inTask = inTasks(new MessageChannel());

/** A page, or a worker of one. */
export const webRuntime: Runtime = {
  ...anywhere,
  inLaterTurn: inTask,
  // A browser has nothing that follows all microtasks of a task, and each send() that waits resumes in a microtask of its own: what
  // is written by a microtask is one message at a time.
  afterMicrotasks: inTask,
  asciiText(bytes, start, end) {
    if (end - start > SHORT_TEXT_BYTES) return ascii.decode(bytes.subarray(start, end));
    let text = "";
    for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at] as number);
    return text;
  },
};

// On Node `hawser/web` may be used beside `hawser`, whose runtime is the better one there.
if (runtime === anywhere) setRuntime(webRuntime);

// Older browsers lack explicit resource management; the symbols are those that compilers of `using` look for then.
for (const name of ["dispose", "asyncDispose"]) {
  if (name in Symbol) continue;
  Object.defineProperty(Symbol, name, { value: Symbol.for(`Symbol.${name}`) });
}
