import type { Parameters } from "./parameter.ts";

/** The width of a help text, in characters, in every terminal. */
const COLUMNS = 90;

/** Returns a parameter's name as the user types it: `jsonLines` is `json-lines`. */
export function nameOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export interface HelpContents {
  readonly usage: string;
  readonly about: string;
  readonly arguments?: Parameters;
  readonly options?: Parameters;
  readonly commands?: readonly (readonly [name: string, about: string])[];
  readonly more?: string | undefined;
}

/** Returns the text that --help prints. */
export function helpOf(command: HelpContents): string {
  const { usage, about, commands, more, arguments: ordered = {}, options = {} } = command;
  const forms = Object.values(ordered).map(({ form }) => form);
  const typed = commands === undefined ? ["[options]", ...forms] : ["<command>", "[options]"];
  const parts = [
    `Usage: ${[usage, ...typed].join(" ")}`,
    about,
    ...tableOf(
      "Arguments",
      Object.values(ordered).map(({ form, help }) => [form, help]),
    ),
    ...tableOf("Commands", commands ?? []),
    ...tableOf("Options", [
      ...Object.entries(options).map(
        ([name, { form, help }]) => [`--${nameOf(name)} ${form}`.trim(), help] as const,
      ),
      ["--help", commands === undefined ? "print this" : "print this, or what a command takes"],
    ]),
    ...(more === undefined ? [] : [more.trim()]),
  ];
  return parts.join("\n\n");
}

function tableOf(title: string, rows: readonly (readonly [string, string])[]): string[] {
  if (rows.length === 0) return [];
  const indent = Math.max(...rows.map(([name]) => name.length)) + 4;
  const lines = rows.map(
    ([name, text]) => `  ${name}`.padEnd(indent) + wrap(text, COLUMNS - indent, indent),
  );
  return [[`${title}:`, ...lines].join("\n")];
}

/** Breaks a text into lines of at most `columns` characters. All lines but the first are indented. */
function wrap(text: string, columns: number, indent: number): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.join(`\n${" ".repeat(indent)}`);
}
