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
  /** The name of the program: each line that it writes to stderr begins with it. */
  readonly program: string;
  /** The words to type before the options: `npm run chat --`. */
  readonly usage: string;
  /** One sentence about the purpose. */
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
  /** Prints the help if `words` contain --help; otherwise runs the command. Throws a usageError() for invalid words. */
  run(words: readonly string[]): Promise<void>;
}

export interface Command<AllValues> extends Runnable {
  readonly help: string;
  /** Returns the values of the typed words, or `undefined` if they contain --help. Throws a usageError(). */
  read(words: readonly string[]): AllValues | undefined;
}

// biome-ignore lint/complexity/noBannedTypes: no parameters at all
type None = {};

/** Makes a command from its tables of parameters. */
export function command<Arguments extends Parameters = None, Options extends Parameters = None>(
  table: CommandOptions<Arguments, Options>,
): Command<Values<Arguments> & Values<Options>> {
  const { program, about, run, arguments: ordered = {}, options = {} } = table;
  const help = helpOf({ ...table, arguments: ordered, options });
  const read = (words: readonly string[]) =>
    // The two tables define the names and types of these values.
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

/** Makes a program from several commands: the first word selects the command. */
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
      if (name === undefined) throw usageError(`name a command: ${names.join(", ")}`);
      const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
      if (load === undefined) {
        const near = nearest(name, names);
        const remedy =
          near === undefined ? `there is ${names.join(", ")}` : `did you mean ${near}?`;
        throw usageError(`there is no command ${name}: ${remedy}`);
      }
      await (await load()).run(words);
    },
  };
}

/** Makes the error of words that the user typed and that are not valid: INVALID_ARGUMENT, with an Unreadable as its cause. */
export function usageError(message: string): ConnectError {
  return new ConnectError(
    message,
    Code.InvalidArgument,
    undefined,
    undefined,
    new Unreadable(message),
  );
}

/** Whether an error is of usageError(); a server's INVALID_ARGUMENT is not. */
export function isUsageError(error: unknown): boolean {
  return error instanceof ConnectError && error.cause instanceof Unreadable;
}

/**
 * Runs a program with the words that the user typed. If it throws, prints one line to stderr and sets exit code 1,
 * or `usageExitCode` if the words are not valid.
 */
export async function main(
  program: Runnable,
  { usageExitCode = 1 }: { usageExitCode?: number } = {},
): Promise<void> {
  const words = process.argv.slice(2);
  try {
    await program.run(words);
  } catch (error) {
    // EPIPE: the reader of the output has closed it (`| head`).
    if (systemCode(error) === "EPIPE") return;
    report(error, { json: words.includes("--json") });
    if (isUsageError(error)) process.exitCode = usageExitCode;
  }
}

function readWords(
  words: readonly string[],
  ordered: Parameters,
  options: Parameters,
): Record<string, unknown> | undefined {
  try {
    const { textsOf, rest, wantsHelp } = tokensOf(words, options);
    if (wantsHelp) return undefined;
    checkExclusions(textsOf, options);
    const values: Record<string, unknown> = {};
    for (const [name, parameter] of Object.entries(options)) {
      values[name] = parameter.parse(textsOf.get(name) ?? [], `--${nameOf(name)}`);
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
    throw error instanceof Unreadable ? usageError(error.message) : error;
  }
}

interface TypedWords {
  /** The typed texts of each option, by its name in the table; "" for a flag. */
  readonly textsOf: Map<string, string[]>;
  readonly rest: string[];
  readonly wantsHelp: boolean;
}

/** Splits the typed words into options and arguments. `strict` is off, because the error texts of this file are better. */
function tokensOf(words: readonly string[], options: Parameters): TypedWords {
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
  const textsOf = new Map<string, string[]>();
  const rest: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") rest.push(token.value);
    if (token.kind !== "option") continue;
    if (token.rawName === "--help" || token.rawName === "-h") {
      return { textsOf, rest, wantsHelp: true };
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
    textsOf.set(name, [...(textsOf.get(name) ?? []), token.value ?? ""]);
  }
  return { textsOf, rest, wantsHelp: false };
}

function unknownOption(typed: string, names: readonly string[]): Unreadable {
  const near = nearest(typed.replace(/^-+/, ""), names);
  const remedy = near === undefined ? "--help lists those there are" : `did you mean --${near}?`;
  return new Unreadable(`there is no option ${typed}: ${remedy}`);
}

function checkExclusions(textsOf: TypedWords["textsOf"], options: Parameters): void {
  for (const name of textsOf.keys()) {
    const other = options[name]?.excludes.find((excluded) => textsOf.has(excluded));
    if (other === undefined) continue;
    throw new Unreadable(
      `--${nameOf(name)} and --${nameOf(other)} exclude each other: give one of them`,
    );
  }
}
