/** The error of a text that cannot be read; its message says what to write instead. */
export class Unreadable extends Error {}

/** An option, a flag or an argument of a command. */
export interface Parameter<T> {
  readonly kind: "option" | "flag" | "argument";
  /** Its value as the help shows it: `<number>`; of an argument: `<file>`, `[name]`, `[text...]`. */
  readonly form: string;
  readonly help: string;
  /** The options that cannot be given beside it, by their names in the table. */
  readonly excludes: readonly string[];
  /**
   * Its value, from the texts that were given for it, in their order.
   *
   * @param what the name that the user knows: `--count` or `<file>`
   */
  parse(texts: readonly string[], what: string): T;
}

/** A table of parameters: their names in the code; `jsonLines` is typed `--json-lines`. */
export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

/** The values of a table of parameters. */
export type Values<P extends Parameters> = {
  [Name in keyof P]: P[Name] extends Parameter<infer T> ? T : never;
};

/** How an option, or an argument that may be left out, is read. */
export interface Rules {
  /** Makes the value of the text that was typed; throws Unreadable. Default: the text itself. */
  readonly read?: (text: string) => unknown;
  /** The value where it is not given. Default: `undefined`. */
  readonly otherwise?: unknown;
  /** `otherwise` as the help shows it. Default: as a string. */
  readonly shown?: string;
  readonly excludes?: readonly string[];
}

/** The type of the value that the rules make. */
type ValueOf<R extends Rules> =
  | (R extends { read: (text: string) => infer T } ? T : string)
  | (R extends { otherwise: infer Otherwise } ? Otherwise : undefined);

/** An option with a value. Where it is given several times, the last counts. */
export function option<R extends Rules = object>(
  form: `<${string}>`,
  help: string,
  rules?: R,
): Parameter<ValueOf<R>> {
  const { otherwise, shown = otherwise, excludes = [] } = rules ?? {};
  const parse = (texts: readonly string[], what: string) => lastOf(texts, what, rules);
  return { kind: "option", form, help: withDefault(help, shown), excludes, parse };
}

/** The value of the last text, as the rules say. */
function lastOf<R extends Rules>(texts: readonly string[], what: string, rules?: R): ValueOf<R> {
  const text = texts.at(-1);
  const value = text === undefined ? rules?.otherwise : readWith(rules?.read ?? asItIs, text, what);
  // ValueOf is the type of that value; the compiler cannot derive it.
  return value as ValueOf<R>;
}

const asItIs = (text: string) => text;

/** An option that may be given several times, and each time with several values. */
export function repeatedOption<T>(
  form: string,
  help: string,
  { read, otherwise }: { read: (text: string) => T[]; otherwise: readonly T[] },
): Parameter<readonly T[]> {
  return {
    kind: "option",
    form,
    help: withDefault(help, otherwise.join()),
    excludes: [],
    parse: (texts, what) =>
      texts.length === 0 ? otherwise : texts.flatMap((text) => readWith(read, text, what)),
  };
}

/** An option without a value. */
export function flag(
  help: string,
  { excludes = [] }: { excludes?: readonly string[] } = {},
): Parameter<boolean> {
  return { kind: "flag", form: "", help, excludes, parse: (texts) => texts.length > 0 };
}

/** --json, the same for every command. */
export const jsonFlag = flag("print one JSON object a line, errors on stderr included");

/** An argument that has to be given: `<file>`. */
export function argument<Read extends (text: string) => unknown = typeof asItIs>(
  form: `<${string}>`,
  help: string,
  read?: Read,
): Parameter<ReturnType<Read>> {
  return {
    ...{ kind: "argument", form, help, excludes: [] },
    parse([text], what) {
      if (text === undefined) throw new Unreadable(`${what} is missing: ${help}`);
      // Without `read`, its type is that of asItIs.
      return readWith(read ?? asItIs, text, what) as ReturnType<Read>;
    },
  };
}

/** An argument that may be left out: `[name]`. */
export function optionalArgument<R extends Pick<Rules, "read" | "otherwise"> = object>(
  form: `[${string}]`,
  help: string,
  rules?: R,
): Parameter<ValueOf<R>> {
  const parse = (texts: readonly string[], what: string) => lastOf(texts, what, rules);
  const shown = withDefault(help, rules?.otherwise);
  return { kind: "argument", form, help: shown, excludes: [], parse };
}

/** All arguments that are left: `[text...]`. The last of a table. */
export function restArguments(form: `[${string}...]`, help: string): Parameter<readonly string[]> {
  return { kind: "argument", form, help, excludes: [], parse: (texts) => texts };
}

function withDefault(help: string, shown: unknown): string {
  return shown === undefined ? help : `${help} (default: ${shown})`;
}

function readWith<T>(read: (text: string) => T, text: string, what: string): T {
  try {
    return read(text);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    // The user and password of an address are left out of the message.
    const shown = text.replace(/:\/\/.*@/, "://…@");
    throw new Unreadable(`${what} '${shown}' is not valid: ${error.message}`);
  }
}
