/**
 * Values as text, between a test under Node and a page. What can be copied is copied; anything else (a function, an iterable, a
 * signal, an error, a promise) stays where it is, and goes by a number. One that comes home is the same object again.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";

export type Wire = null | boolean | number | string | Wire[] | { [name: string]: Wire };

/** What makes objects of this end out of those that stay at the other. */
export interface StandIns {
  /** Makes an object that stands for number `number` of the other end, of this kind. */
  make(kind: string, number: number, rest: readonly unknown[]): object;
  /** How the other end is told of an object of this one; `undefined`: it is copied, field by field. */
  describe(value: object): [kind: string, ...rest: unknown[]] | undefined;
  /** An object of this end has got its number. */
  onNumber(value: object, number: number): void;
}

/** Encodes and decodes the values of one end, and knows its objects by number. */
export class WireValues {
  readonly #standIns: StandIns;
  readonly #own = new Map<number, object>();
  readonly #ownNumbers = new WeakMap<object, number>();
  readonly #theirs = new Map<number, object>();
  readonly #theirNumbers = new WeakMap<object, number>();
  #last = 0;

  constructor(standIns: StandIns) {
    this.#standIns = standIns;
  }

  /** The object of this end that has the number. */
  own(number: number): object {
    const value = this.#own.get(number);
    if (value === undefined) throw new Error(`there is no object ${number} here`);
    return value;
  }

  encode(value: unknown): Wire {
    if (value === undefined) return ["undefined"];
    if (typeof value === "bigint") return ["bigint", `${value}`];
    if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) {
      return ["number", Object.is(value, -0) ? "-0" : `${value}`];
    }
    if (typeof value === "symbol") throw new Error("a symbol cannot pass");
    if (value === null || (typeof value !== "object" && typeof value !== "function")) {
      return value as Wire;
    }
    return this.#encodeObject(value);
  }

  #encodeObject(value: object): Wire {
    const theirs = this.#theirNumbers.get(value);
    if (theirs !== undefined) return ["yours", theirs];
    if (Array.isArray(value)) return ["array", ...value.map((item) => this.encode(item))];
    if (value instanceof Uint8Array) return ["bytes", toBase64(value)];
    if (value instanceof Headers)
      return ["headers", ...[...value].map((entry) => ["array", ...entry])];
    if (value instanceof Error) return this.#encodeError(value);
    const described = this.#standIns.describe(value);
    if (described === undefined) return this.#encodeFields(value);
    const [kind, ...rest] = described;
    return [kind, this.numberOf(value), ...rest.map((item) => this.encode(item))];
  }

  #encodeFields(value: object): Wire {
    const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(value));
    if (!isPlain && !("$typeName" in value)) {
      throw new Error(`a value of ${value.constructor.name} cannot pass between Node and the page`);
    }
    return Object.fromEntries(
      Object.entries(value).map(([name, field]) => [name, this.encode(field)]),
    );
  }

  #encodeError(error: Error): Wire {
    const { name, message, stack, cause } = error;
    const details =
      error instanceof ConnectError
        ? { code: error.code, rawMessage: error.rawMessage, details: detailsOf(error) }
        : undefined;
    const metadata = error instanceof ConnectError ? error.metadata : undefined;
    const rest = [name, message, stack, cause, details, metadata];
    return ["error", this.numberOf(error), ...rest.map((item) => this.encode(item))];
  }

  /** The number of an object of this end; its first use gives it one. */
  numberOf(value: object): number {
    const known = this.#ownNumbers.get(value);
    if (known !== undefined) return known;
    const number = ++this.#last;
    this.#own.set(number, value);
    this.#ownNumbers.set(value, number);
    this.#standIns.onNumber(value, number);
    return number;
  }

  decode(wire: Wire): unknown {
    if (wire === null || typeof wire !== "object") return wire;
    if (!Array.isArray(wire)) {
      return Object.fromEntries(
        Object.entries(wire).map(([name, field]) => [name, this.decode(field)]),
      );
    }
    const [kind, first, ...more] = wire as [string, ...Wire[]];
    switch (kind) {
      case "undefined":
        return undefined;
      case "bigint":
        return BigInt(first as string);
      case "number":
        return Number(first);
      case "array":
        return wire.slice(1).map((item) => this.decode(item));
      case "bytes":
        return fromBase64(first as string);
      case "headers":
        return new Headers(wire.slice(1).map((entry) => this.decode(entry) as [string, string]));
      case "yours":
        return this.own(first as number);
    }
    return this.#standIn(kind, first as number, more);
  }

  #standIn(kind: string, number: number, wires: readonly Wire[]): object {
    const known = this.#theirs.get(number);
    if (known !== undefined) return known;
    const rest = wires.map((wire) => this.decode(wire));
    const made = kind === "error" ? toError(rest) : this.#standIns.make(kind, number, rest);
    this.#theirs.set(number, made);
    this.#theirNumbers.set(made, number);
    return made;
  }
}

/** Details as they come from a server, also those that the client has made. */
function detailsOf({ details }: ConnectError) {
  return details.map((detail) => {
    if ("type" in detail) return { type: detail.type, value: detail.value };
    const { desc, value } = detail;
    return { type: desc.typeName, value: toBinary(desc, create(desc, value)) };
  });
}

function toError([name, message, stack, cause, details, metadata]: readonly unknown[]): Error {
  if (details === undefined) {
    if (name === "TimeoutError" || name === "AbortError") {
      return new DOMException(message as string, name);
    }
    return Object.assign(new Error(message as string, { cause }), { name, stack });
  }
  const { code, rawMessage, ...own } = details as ConnectError;
  const error = new ConnectError(rawMessage, code, metadata as Headers, undefined, cause);
  return Object.assign(error, { ...own, stack });
}

// A page has these of its own, and Node 24 not yet.

interface Base64 {
  toBase64(): string;
}

interface OfBase64 {
  fromBase64(text: string): Uint8Array;
}

function toBase64(bytes: Uint8Array): string {
  if ("toBase64" in bytes) return (bytes as unknown as Base64).toBase64();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

function fromBase64(text: string): Uint8Array {
  if ("fromBase64" in Uint8Array) return (Uint8Array as unknown as OfBase64).fromBase64(text);
  return new Uint8Array(Buffer.from(text, "base64"));
}
