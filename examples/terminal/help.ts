import type { Parameters } from "./parameter.ts";

/** The columns of a help, whatever the terminal has. */
const COLUMNS = 90;

/** How a parameter of a table is typed: `jsonLines` is `json-lines`. */
export function nameOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export interface Described {
  readonly usage: string;
  readonly about: string;
  readonly arguments?: Parameters;
  readonly options?: Parameters;
  readonly commands?: readonly (readonly [name: string, about: string])[];
  readonly more?: string | undefined;
}

/** What --help prints. */
export function helpOf(command: Described): string {
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
    ([name, text]) => `  ${name}`.padEnd(indent) + wrapped(text, COLUMNS - indent, indent),
  );
  return [[`${title}:`, ...lines].join("\n")];
}

/** A text in lines of at most `columns`, all but the first with an indent. */
function wrapped(text: string, columns: number, indent: number): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.join(`\n${" ".repeat(indent)}`);
}
