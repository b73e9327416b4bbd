/**
 * The limit of a generated function, in characters: V8 does not optimize functions of more than 60 KiB of bytecode, and
 * a type must not take much memory.
 */
const MAX_LENGTH = 64 * 1024;

/**
 * The text of a generated function. Nothing from a descriptor becomes a part of the program but numbers, and names as
 * string literals: a descriptor may come from an attacker.
 */
export class Source {
  readonly #lines: string[] = [];
  readonly #constants: unknown[] = [];
  readonly #names = new Map<unknown, string>();
  #length = 0;

  /** Adds lines of the program. Throws if the text becomes longer than MAX_LENGTH. */
  add(...lines: readonly string[]): void {
    for (const line of lines) {
      this.#lines.push(line);
      this.#length += line.length + 1;
      if (this.#length > MAX_LENGTH) throw new RangeError(`longer than ${MAX_LENGTH} characters`);
    }
  }

  /** Returns the variable that holds a value in the program. */
  constant(value: unknown): string {
    let name = this.#names.get(value);
    if (name === undefined) {
      name = `c${this.#constants.length}`;
      this.#names.set(value, name);
      this.#constants.push(value);
    }
    return name;
  }

  /** Compiles the program. Throws an EvalError where code must not be generated. */
  compile(): unknown {
    const names = this.#constants.map((_, at) => `c${at}`).join(", ");
    const program = ['"use strict";', `const [${names}] = constants;`, ...this.#lines].join("\n");
    return new Function("constants", program)(this.#constants);
  }
}

/** Returns a property of a variable, by a name from a descriptor. */
export function property(of: string, name: string): string {
  return `${of}[${JSON.stringify(name)}]`;
}

/** Returns a name from a descriptor as a string literal. */
export function literal(name: string): string {
  return JSON.stringify(name);
}

/** Returns an integer as source text. */
export function integer(value: number): string {
  if (!Number.isInteger(value)) throw new TypeError(`${value} is not an integer`);
  return `${value}`;
}
