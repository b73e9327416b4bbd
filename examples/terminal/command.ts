/**
 * The commands of a program, over `parseArgs` of Node: a table of parameters gives the checks, the types and the help.
 *
 *     const hello = command({
 *       program: "hello",
 *       usage: "node hello.ts",
 *       about: "Says hello.",
 *       arguments: { name: optionalArgument("[name]", "who says it", { otherwise: "world" }) },
 *       options: { times: option("<number>", "how often", { read: readCount, otherwise: 1 }) },
 *       run: async ({ name, times }) => { … },
 *     });
 *     await main(hello);
 */
import { parseArgs } from "node:util";
import { Code, ConnectError } from "hawser";
import { helpOf, nameOf } from "./help.ts";
import { nearest } from "./nearest.ts";
import { printLine } from "./output.ts";
import { type Parameter, type Parameters, Unreadable, type Values } from "./parameter.ts";
import { nameProgram } from "./program.ts";
import { report, systemCode } from "./report.ts";

export interface CommandOptions<Arguments extends Parameters, Options extends Parameters> {
  /** The name of the program, which begins each line that it writes to stderr. */
  readonly program: string;
  /** The words that run it, before its options: `npm run chat --`. */
  readonly usage: string;
  /** A sentence. */
  readonly about: string;
  /** In the order in which they are typed. */
  readonly arguments?: Arguments;
  readonly options?: Options;
  /** The text of the help below its tables: details, examples. */
  readonly more?: string;
  readonly run: (values: Values<Arguments> & Values<Options>) => Promise<void>;
}

/** A command, or a group of them, for main(). */
export interface Runnable {
  readonly about: string;
  /** Prints the help where `words` ask for it; else does its work. Throws INVALID_ARGUMENT for words that are wrong. */
  run(words: readonly string[]): Promise<void>;
}

export interface Command<AllValues> extends Runnable {
  readonly help: string;
  /** The values of the words that were typed; throws INVALID_ARGUMENT. `undefined`: the words ask for the help. */
  read(words: readonly string[]): AllValues | undefined;
}

// biome-ignore lint/complexity/noBannedTypes: no parameters at all
type None = {};

/** Makes a command of its tables. */
export function command<Arguments extends Parameters = None, Options extends Parameters = None>(
  given: CommandOptions<Arguments, Options>,
): Command<Values<Arguments> & Values<Options>> {
  const { program, about, run, arguments: ordered = {}, options = {} } = given;
  const help = helpOf({ ...given, arguments: ordered, options });
  const read = (words: readonly string[]) =>
    // The two tables have the names and types of this type.
    readWords(words, ordered, options) as (Values<Arguments> & Values<Options>) | undefined;
  return {
    about,
    help,
    read,
    async run(words) {
      nameProgram(program);
      const values = read(words);
      await (values === undefined ? printLine(help) : run(values));
    },
  };
}

export interface GroupOptions {
  /** The name of the program while none of its commands runs. */
  readonly program: string;
  readonly usage: string;
  readonly about: string;
  /** Each command is loaded when it runs, with the modules that it needs. */
  readonly commands: Readonly<Record<string, () => Promise<Runnable>>>;
  readonly more?: string;
}

/** Makes one program of several commands: the first word is the name of the command. */
export function group({ program, usage, about, commands, more }: GroupOptions): Runnable {
  const names = Object.keys(commands);
  const help = async () => {
    const listed = names.map(async (name) => {
      const { about } = await (commands[name] as () => Promise<Runnable>)();
      return [name, about] as const;
    });
    return helpOf({ usage, about, commands: await Promise.all(listed), more });
  };
  return {
    about,
    async run([name, ...words]) {
      nameProgram(program);
      if (name === "--help" || name === "-h") return printLine(await help());
      if (name === undefined) throw invalid(`name a command: ${names.join(", ")}`);
      const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
      if (load === undefined) {
        const near = nearest(name, names);
        const remedy =
          near === undefined ? `there is ${names.join(", ")}` : `did you mean ${near}?`;
        throw invalid(`there is no command ${name}: ${remedy}`);
      }
      await (await load()).run(words);
    },
  };
}

/** Runs a program with the words that were typed. An error becomes one line on stderr, and exit code 1. */
export async function main(program: Runnable, words = process.argv.slice(2)): Promise<void> {
  try {
    await program.run(words);
  } catch (error) {
    // EPIPE: the reader of the output has closed it (`| head`).
    if (systemCode(error) !== "EPIPE") report(error, { json: words.includes("--json") });
  }
}

function readWords(
  words: readonly string[],
  ordered: Parameters,
  options: Parameters,
): Record<string, unknown> | undefined {
  try {
    const { given, rest, wantsHelp } = tokensOf(words, options);
    if (wantsHelp) return undefined;
    checkExclusions(given, options);
    const values: Record<string, unknown> = {};
    for (const [name, parameter] of Object.entries(options)) {
      values[name] = parameter.parse(given.get(name) ?? [], `--${nameOf(name)}`);
    }
    for (const [name, parameter] of Object.entries(ordered)) {
      const texts = rest.splice(0, parameter.form.endsWith("...]") ? Infinity : 1);
      values[name] = parameter.parse(texts, parameter.form);
    }
    const [extra] = rest;
    if (extra !== undefined) {
      throw new Unreadable(`'${extra}' is one argument too many: --help lists those there are`);
    }
    return values;
  } catch (error) {
    throw error instanceof Unreadable ? invalid(error.message) : error;
  }
}

interface Given {
  /** The texts of each option that was given, "" for a flag, by its name in the table. */
  readonly given: Map<string, string[]>;
  readonly rest: string[];
  readonly wantsHelp: boolean;
}

/** Takes apart the words that were typed; not strict, since the error texts of this file are better. */
function tokensOf(words: readonly string[], options: Parameters): Given {
  const named = new Map(Object.keys(options).map((name) => [nameOf(name), name]));
  const { tokens } = parseArgs({
    args: [...words],
    options: Object.fromEntries(
      [...named].map(([typed, name]) => [
        typed,
        { type: (options[name] as Parameter<unknown>).kind === "flag" ? "boolean" : "string" },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, string[]>();
  const rest: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") rest.push(token.value);
    if (token.kind !== "option") continue;
    if (token.rawName === "--help" || token.rawName === "-h") {
      return { given, rest, wantsHelp: true };
    }
    const name = token.rawName.startsWith("--") ? named.get(token.name) : undefined;
    if (name === undefined) throw unknownOption(token.rawName, [...named.keys()]);
    const { kind, form } = options[name] as Parameter<unknown>;
    if (kind === "flag" && token.value !== undefined) {
      throw new Unreadable(`${token.rawName} takes no value: leave out '${token.value}'`);
    }
    if (kind === "option" && token.value === undefined) {
      throw new Unreadable(`${token.rawName} has no value: write ${token.rawName} ${form}`);
    }
    given.set(name, [...(given.get(name) ?? []), token.value ?? ""]);
  }
  return { given, rest, wantsHelp: false };
}

function unknownOption(typed: string, names: readonly string[]): Unreadable {
  const near = nearest(typed.replace(/^-+/, ""), names);
  const remedy = near === undefined ? "--help lists those there are" : `did you mean --${near}?`;
  return new Unreadable(`there is no option ${typed}: ${remedy}`);
}

function checkExclusions(given: Given["given"], options: Parameters): void {
  for (const name of given.keys()) {
    const other = options[name]?.excludes.find((excluded) => given.has(excluded));
    if (other === undefined) continue;
    throw new Unreadable(
      `--${nameOf(name)} and --${nameOf(other)} exclude each other: give one of them`,
    );
  }
}

function invalid(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument);
}
