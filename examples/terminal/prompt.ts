import { clearScreenDown, createInterface, cursorTo, moveCursor } from "node:readline";
import { printLine, printNote } from "./output.ts";

const PROMPT = "> ";

/** Supplies the user's messages, and prints the replies. */
export interface Speaker extends Disposable {
  /** Ends early, without an error, when `closed` aborts: the conversation has ended. */
  messages(closed: AbortSignal): AsyncIterable<string>;
  print(line: string): Promise<void>;
  /** Writes a line to stderr. */
  note(line: string): void;
  /** Shows a word before the line that is being typed, until the next call; "" removes it. Only on a terminal. */
  hint?(text: string): void;
}

/** Makes a speaker without a terminal. */
export function speakerOf(messages: Speaker["messages"]): Speaker {
  return { messages, print: printLine, note: printNote, [Symbol.dispose]() {} };
}

/**
 * Makes a speaker on the terminal: each line is a message, Ctrl-D ends the messages, Ctrl-C runs `onCancel`. A reply
 * appears above the line that is being typed.
 *
 * @param onTyping called at each key after which the line is not empty
 */
export function openPrompt(onCancel: () => void, onTyping?: () => void): Speaker {
  const screen = process.stdout.isTTY ? process.stdout : process.stderr;
  const reader = createInterface({ input: process.stdin, output: screen, prompt: PROMPT });
  let open = true;
  let prompt = PROMPT;
  let writing = Promise.resolve();
  /** Whether the unfinished line was removed from the screen. */
  let cleared = false;
  // Runs before the reader gets the key: removes the hint from the entered line, which stays on the screen.
  const onEnter = (_text: string, key: { name?: string }) => {
    if (!open || prompt === PROMPT || !/^(?:return|enter)$/.test(key.name ?? "")) return;
    if (!cleared) clear();
    reader.setPrompt(PROMPT);
    reader.prompt(true);
    reader.setPrompt(prompt);
  };
  // Runs after the reader: the line already contains the key.
  const onKey = () => {
    if (open && reader.line !== "") onTyping?.();
  };
  process.stdin.prependListener("keypress", onEnter).on("keypress", onKey);
  reader.once("close", () => {
    open = false;
    process.stdin.off("keypress", onEnter).off("keypress", onKey);
    screen.write("\n");
  });
  reader.once("SIGINT", () => {
    reader.close();
    onCancel();
  });

  const clear = () => {
    const { rows } = reader.getCursorPos();
    moveCursor(screen, 0, -rows);
    cursorTo(screen, 0);
    clearScreenDown(screen);
    // clear() moved the cursor above the place that readline remembers. No documented call tells readline.
    (reader as { prevRows?: number }).prevRows = 0;
  };

  /** Writes above the line that is being typed, after all earlier writes. */
  const above = (write: () => void | Promise<void>): Promise<void> => {
    const written = writing.then(async () => {
      if (!open || !screen.isTTY) return write();
      clear();
      cleared = true;
      await write();
      cleared = false;
      if (open) reader.prompt(true);
    });
    writing = written.catch(() => {});
    return written;
  };

  return {
    async *messages(closed) {
      const close = () => reader.close();
      closed.addEventListener("abort", close, { once: true });
      if (closed.aborted) return;
      process.stderr.write(
        "Type a message and press Enter. Ctrl-D ends the conversation, Ctrl-C cancels it.\n",
      );
      reader.prompt();
      // Synchronously, so that a pasted line does not begin before its prompt.
      reader.on("line", () => reader.prompt(true));
      for await (const line of reader) yield line;
    },

    print: (line) => (screen === process.stdout ? above(() => printLine(line)) : printLine(line)),

    note: (line) => void above(() => printNote(line)),

    hint(text) {
      if (!screen.isTTY) return;
      void above(() => {
        prompt = text === "" ? PROMPT : `${text} ${PROMPT}`;
        reader.setPrompt(prompt);
      });
    },

    [Symbol.dispose]() {
      reader.close();
    },
  };
}
