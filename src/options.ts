import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "./failure.ts";

/** Names a value in errors: `of` is the function of the API, `option` the path of the option within its options. */
export interface OptionPlace {
  readonly of: string;
  readonly option: string;
}

/** Throws INVALID_ARGUMENT, which names the place, if the option or argument does not accept `value`. */
export interface Check {
  (value: unknown, place: OptionPlace): void;
  /** Whether the option is required. */
  readonly isNeeded?: boolean;
}

/** One check for each option of an interface. TypeScript reports a missing check. */
export type Checks<T> = { readonly [Name in keyof Required<T>]: Check };

/**
 * Checks the options that a caller gave to a function of the API. Throws INVALID_ARGUMENT if an option is unknown, or
 * does not accept its value. An option that is `undefined` counts as not given.
 */
export function checkOptions<T>(of: string, options: T, checks: Checks<T>): void {
  checkObject(options, { of, option: "" }, checks);
}

function checkObject(value: unknown, place: OptionPlace, checks: Checks<unknown>): void {
  if (!isObject(value)) {
    throw wrong({ of: place.of, option: place.option || "options" }, value, "an object");
  }
  const options = value as Record<string, unknown>;
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(checks, name)) throw unknownOption(place, name, Object.keys(checks));
  }
  for (const [name, check] of Object.entries(checks as Record<string, Check>)) {
    const option = place.option === "" ? name : `${place.option}.${name}`;
    if (options[name] !== undefined || check.isNeeded) {
      check(options[name], { of: place.of, option });
    }
  }
}

/** Makes an option required. */
export function needed(check: Check): Check {
  return Object.assign((value: unknown, place: OptionPlace) => check(value, place), {
    isNeeded: true,
  });
}

/** Accepts any value: for options that are checked by the code that uses them. */
export const anything: Check = () => {};

/** A finite number above 0. */
export const positive = number("a number above 0", (value) => value > 0 && value < Infinity);

/** A number above 0, or Infinity. */
export const positiveOrInfinite = number("a number above 0, or Infinity,", (value) => value > 0);

/** A finite number of 0 or more. */
export const notNegative = number(
  "a number of 0 or more",
  (value) => value >= 0 && value < Infinity,
);

/** A number of 0 or more, or Infinity. */
export const notNegativeOrInfinite = number(
  "a number of 0 or more, or Infinity,",
  (value) => value >= 0,
);

/** A whole number of 0 or more, or Infinity. */
export const wholeOrInfinite = number(
  "a whole number of 0 or more, or Infinity,",
  (value) => value >= 0 && (Number.isInteger(value) || value === Infinity),
);

/** A number of milliseconds. Values up to 0, and Infinity, mean that there is no deadline. */
export const timeout = number("a number of milliseconds", (value) => !Number.isNaN(value));

/** A whole number from `min` to `max`. */
export function whole(min: number, max: number): Check {
  return number(
    `a whole number from ${min} to ${max}`,
    (value) => Number.isInteger(value) && value >= min && value <= max,
  );
}

function number(what: string, fits: (value: number) => boolean): Check {
  return (value, place) => {
    if (typeof value === "number" && fits(value)) return;
    const isNumeric = typeof value === "string" && value.trim() !== "" && fits(Number(value));
    const remedy = isNumeric ? `; use Number(${environment(place.option)})` : "";
    throw refusal(place, value, `${what} is needed${remedy}`);
  };
}

export const trueOrFalse: Check = checkThat("true or false", (value) => typeof value === "boolean");

export const text: Check = checkThat("a string", (value) => typeof value === "string");

export const someText: Check = checkThat(
  "a string that is not empty",
  (value) => typeof value === "string" && value !== "",
);

export const callable: Check = checkThat("a function", (value) => typeof value === "function");

export const anObject: Check = checkThat("an object", isObject);

/** A string that matches `form`. */
export function matching(form: RegExp, what: string): Check {
  return checkThat(what, (value) => typeof value === "string" && form.test(value));
}

/** A string that is one of `choices`. */
export function oneOf(...choices: string[]): Check {
  const what = choices.map((choice) => JSON.stringify(choice)).join(" or ");
  return checkThat(what, (value) => choices.includes(value as string));
}

/** An array. Each item must pass `check`. */
export function listOf(check: Check): Check {
  return (value, place) => {
    if (!Array.isArray(value)) throw wrong(place, value, "an array");
    for (const [n, item] of value.entries()) {
      check(item, { of: place.of, option: `${place.option}[${n}]` });
    }
  };
}

/** An object with these options, and no others. */
export function optionsOf<T>(checks: Checks<T>): Check {
  return (value, place) => checkObject(value, place, checks);
}

/** An object that has these functions. */
export function withFunctions(...names: string[]): Check {
  const what = `an object with the function${names.length > 1 ? "s" : ""} ${names.join(", ")}`;
  return checkThat(what, (value) => isWith(value, names));
}

/** Whether a value is an object or a function with methods of these names. */
export function isWith(value: unknown, names: readonly string[]): boolean {
  if ((typeof value !== "object" || value === null) && typeof value !== "function") return false;
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
}

/** An AbortSignal. It may come from another realm or a polyfill. */
export const abortSignal: Check = checkThat("an AbortSignal", isSignal);

function isSignal(value: unknown): boolean {
  return (
    value instanceof AbortSignal ||
    (isWith(value, ["addEventListener", "removeEventListener"]) && "aborted" in (value as object))
  );
}

/** Accepts a value that `isFine` accepts; any other must pass `check`. */
export function either(isFine: (value: unknown) => boolean, check: Check): Check {
  return (value, place) => {
    if (!isFine(value)) check(value, place);
  };
}

function checkThat(what: string, fits: (value: unknown) => boolean): Check {
  return (value, place) => {
    if (!fits(value)) throw wrong(place, value, what);
  };
}

export function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Makes the error for a value that an option does not accept. It shows the value, and says what is needed. */
export function wrong(place: OptionPlace, value: unknown, what: string): ConnectError {
  return refusal(place, value, `${what} is needed`);
}

function refusal({ of, option }: OptionPlace, value: unknown, advice: string): ConnectError {
  const is = value === undefined ? "missing" : show(value);
  return failure(Code.InvalidArgument, `${of}: ${option} is ${is}: ${advice}`);
}

/** Makes the error for an unknown option. */
export function unknownOption(
  { of, option }: OptionPlace,
  name: string,
  known: readonly string[],
): ConnectError {
  const where = option === "" ? of : `${of}: ${option}`;
  return failure(
    Code.InvalidArgument,
    `${where} has no option \`${name}\`: ${suggestion(name, known)}`,
  );
}

/** "did you mean `baseUrl`?", or the names to choose from. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== undefined) return `did you mean \`${near}\`?`;
  return known.length === 0 ? "there is none" : `there is ${known.join(", ")}`;
}

/** Returns the known name that `name` may be a misspelling of, if there is one. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const written = name.toLowerCase();
  const ranked = known
    .map((candidate) => {
      const meant = candidate.toLowerCase();
      const [short, long] = written.length < meant.length ? [written, meant] : [meant, written];
      const isPart = short.length >= 3 && long.includes(short);
      return { candidate, edits: isPart ? 1 : distance(written, meant) };
    })
    .sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  return best !== undefined && best.edits <= Math.max(written.length / 3, 1)
    ? best.candidate
    : undefined;
}

/** How many letters have to be added, left out or changed to make `b` of `a` (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

const LONGEST_SHOWN = 60;

/** A value as an error shows it: `"0" (a string)`, `null`, `an array`. */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string":
      return `${JSON.stringify(value.length > LONGEST_SHOWN ? `${value.slice(0, LONGEST_SHOWN)}…` : value)} (a string)`;
    case "bigint":
      return `${value}n (a bigint)`;
    case "boolean":
      return `${value} (a boolean)`;
    case "number":
    case "undefined":
      return String(value);
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    default:
      if (value === null) return "null";
      return Array.isArray(value) ? "an array" : "an object";
  }
}

/** Guesses the environment variable that the option was read from. */
function environment(option: string): string {
  const name = option.slice(option.lastIndexOf(".") + 1);
  return `process.env.${name.replace(/(?=[A-Z])/g, "_").toUpperCase()}`;
}
