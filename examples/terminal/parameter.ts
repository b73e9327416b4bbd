/** The error of an invalid text. Its message says what to write instead. */
export class Unreadable extends Error {}

/** An option, a flag or an argument of a command. */
export interface Parameter<T> {
  readonly kind: "option" | "flag" | "argument";
  /** The value's placeholder in the help: `<number>`; for an argument: `<file>`, `[name]`, `[text...]`. */
  readonly form: string;
  readonly help: string;
  /** The names in the table of options that exclude this one. */
  readonly excludes: readonly string[];
  /**
   * Reads the value from the texts that the user typed for this parameter, in their order.
   *
   * @param what the name that the user knows: `--count` or `<file>`
   */
  parse(texts: readonly string[], what: string): T;
}

/** A table of parameters by their names in the code. The user types `--json-lines` for `jsonLines`. */
export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

/** The values of a table of parameters. */
export type Values<P extends Parameters> = {
  [Name in keyof P]: P[Name] extends Parameter<infer T> ? T : never;
};

/** The rules for reading an option, or an argument that may be left out. */
export interface Rules {
  /** Returns the value of a typed text; throws Unreadable. Default: returns the text itself. */
  readonly read?: (text: string) => unknown;
  /** The value if the user types none. Default: `undefined`. */
  readonly otherwise?: unknown;
  /** `otherwise` as the help shows it. Default: as a string. */
  readonly shown?: string;
  readonly excludes?: readonly string[];
}

/** The type of the value that the rules make. */
type ValueOf<R extends Rules> =
  | (R extends { read: (text: string) => infer T } ? T : string)
  | (R extends { otherwise: infer Otherwise } ? Otherwise : undefined);

/** Makes an option with a value. If the user types it several times, the last value is used. */
export function option<R extends Rules = object>(
  form: `<${string}>`,
  help: string,
  rules?: R,
): Parameter<ValueOf<R>> {
  const { otherwise, shown = otherwise, excludes = [] } = rules ?? {};
  const parse = (texts: readonly string[], what: string) => lastOf(texts, what, rules);
  return { kind: "option", form, help: withDefault(help, shown), excludes, parse };
}

/** Reads the last text by the rules. */
function lastOf<R extends Rules>(texts: readonly string[], what: string, rules?: R): ValueOf<R> {
  const text = texts.at(-1);
  const value = text === undefined ? rules?.otherwise : readWith(rules?.read ?? asItIs, text, what);
  // ValueOf is the type of that value; the compiler cannot derive it.
  return value as ValueOf<R>;
}

const asItIs = (text: string) => text;

/** Makes an option that may be typed several times, each time with several values. */
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

/** Makes an option without a value. */
export function flag(
  help: string,
  { excludes = [] }: { excludes?: readonly string[] } = {},
): Parameter<boolean> {
  return { kind: "flag", form: "", help, excludes, parse: (texts) => texts.length > 0 };
}

/** --json, the same for every command. */
export const jsonFlag = flag("print one JSON object a line, errors on stderr included");

/** Makes an argument that is required: `<file>`. */
export function argument<Read extends (text: string) => unknown = typeof asItIs>(
  form: `<${string}>`,
  help: string,
  read?: Read,
): Parameter<ReturnType<Read>> {
  return {
    ...{ kind: "argument", form, help, excludes: [] },
    parse([text], what) {
      if (text === undefined) throw new Unreadable(`${what} is missing: ${help}`);
      // Without `read`, the type of Read is that of asItIs.
      return readWith(read ?? asItIs, text, what) as ReturnType<Read>;
    },
  };
}

/** Makes an argument that may be left out: `[name]`. */
export function optionalArgument<R extends Pick<Rules, "read" | "otherwise"> = object>(
  form: `[${string}]`,
  help: string,
  rules?: R,
): Parameter<ValueOf<R>> {
  const parse = (texts: readonly string[], what: string) => lastOf(texts, what, rules);
  const shown = withDefault(help, rules?.otherwise);
  return { kind: "argument", form, help: shown, excludes: [], parse };
}

/** Makes a parameter for all remaining arguments: `[text...]`. It must be the last of its table. */
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
    // The message must not contain the user and password of an address.
    const shown = text.replace(/:\/\/.*@/, "://…@");
    throw new Unreadable(`${what} '${shown}' is not valid: ${error.message}`);
  }
}
