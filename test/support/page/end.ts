/** One end of the channel between a test under Node and a page: calls members of the other end's objects, and has its own called. */
import { createContextValues } from "@connectrpc/connect";
import { type StandIns, type Wire, WireValues } from "./wire-values.ts";

/** What the ends send to each other, in order. */
type ChannelMessage =
  /** Call a member of the receiver's object, and send what comes of it as `answer`. */
  | ["call", answer: number, target: number, member: string, args: Wire[]]
  /** What came of a call. */
  | ["answer", answer: number, isOk: boolean, value: Wire]
  /** What became of a promise of the sender. */
  | ["settled", number: number, isOk: boolean, value: Wire]
  /** A signal of the sender has aborted. */
  | ["abort", number: number, reason: Wire]
  /** Whether anything listens to what stands for a signal of the receiver. */
  | ["listens", number: number, isListening: boolean];

/** A member of an object that is not called by its name. */
const ITERATE = "[iterate]";
const CALL_IT = "[call]";

type Members = Record<string, unknown>;

export interface EndOptions {
  /** Sends a text to the other end's receive(). The texts arrive in order. */
  readonly post: (text: string) => void;
  /** Runs a function in a later task. */
  readonly later: (run: () => void) => void;
  /** The object that has the number 1. */
  readonly root: object;
  /** What describes, and makes, objects that only one of the ends has. */
  readonly describe?: StandIns["describe"];
  readonly make?: (kind: string, number: number) => object | undefined;
}

export class End {
  readonly #post: EndOptions["post"];
  readonly #later: EndOptions["later"];
  /** The messages of this task: they leave together, and so do promises that settle together. */
  #messages: ChannelMessage[] = [];
  readonly #values: WireValues;
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  /** Promises of the other end. */
  readonly #promises = new Map<number, PromiseWithResolvers<unknown>>();
  /** What stands for signals of the other end. */
  readonly #controllers = new Map<number, AbortController>();
  /** The listeners that pass on the aborts of this end's signals. */
  readonly #passing = new Map<number, () => void>();
  /** The iterators of this end that the other end reads: of an iterable's number, and of the other end's count. */
  readonly #iterators = new Map<string, AsyncIterator<unknown>>();
  #lastAnswer = 0;
  #lastIterator = 0;

  constructor(options: EndOptions) {
    this.#post = options.post;
    this.#later = options.later;
    this.#values = new WireValues({
      describe: (value) => options.describe?.(value) ?? describe(value),
      make: (kind, number, rest) => options.make?.(kind, number) ?? this.#make(kind, number, rest),
      onNumber: (value, number) => this.#onNumber(value, number),
    });
    this.#values.numberOf(options.root);
  }

  // What this end asks of the other.

  /** Calls a member of an object of the other end. The promise rejects as the member does, and is never reported as unhandled. */
  call(target: number, member: string, args: readonly unknown[]): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    answer.promise.catch(() => {});
    this.#answers.set(++this.#lastAnswer, answer);
    this.#send(["call", this.#lastAnswer, target, member, this.#encodeAll(args)]);
    return answer.promise;
  }

  /** An iterator over an iterable of the other end. */
  iterate(target: number): AsyncIterator<unknown, undefined> {
    const count = ++this.#lastIterator;
    const step = (name: string) => () =>
      this.call(target, ITERATE, [count, name]) as Promise<IteratorResult<unknown, undefined>>;
    return { next: step("next"), return: step("return") };
  }

  /** The text for a call that is performed at once: see perform(). */
  requestFor(target: number, member: string, args: readonly unknown[]): string {
    this.flush();
    return JSON.stringify([target, member, this.#encodeAll(args)]);
  }

  /** What perform() has returned at the other end; throws what the member has thrown. */
  read(outcome: string): unknown {
    const [isOk, wire] = JSON.parse(outcome) as [boolean, Wire];
    const value = this.#values.decode(wire);
    if (!isOk) throw value;
    return value;
  }

  // What the other end asks of this one.

  /** Calls a member at once, and returns what came of it: a promise is not awaited. */
  perform(message: string): string {
    const [target, member, args] = JSON.parse(message) as [number, string, Wire[]];
    try {
      return JSON.stringify([true, this.#values.encode(this.#callOwn(target, member, args))]);
    } catch (error) {
      return JSON.stringify([false, this.#values.encode(error)]);
    }
  }

  receive(text: string): void {
    for (const message of JSON.parse(text) as ChannelMessage[]) this.#receive(message);
  }

  #receive(message: ChannelMessage): void {
    switch (message[0]) {
      case "call":
        void this.#answer(message);
        return;
      case "answer":
        this.#settle(this.#answers, message);
        return;
      case "settled":
        this.#settle(this.#promises, message);
        return;
      case "abort":
        this.#controllers.get(message[1])?.abort(this.#values.decode(message[2]));
        return;
      case "listens":
        this.#passAborts(message[1], message[2]);
    }
  }

  async #answer([, answer, target, member, args]: ChannelMessage & { 0: "call" }): Promise<void> {
    try {
      const value = await this.#callOwn(target, member, args);
      this.#send(["answer", answer, true, this.#values.encode(value)]);
    } catch (error) {
      this.#send(["answer", answer, false, this.#values.encode(error)]);
    }
  }

  #callOwn(target: number, member: string, wires: readonly Wire[]): unknown {
    const own = this.#values.own(target);
    const args = wires.map((wire) => this.#values.decode(wire));
    if (member === ITERATE) return this.#step(target, args as [number, "next" | "return"]);
    if (member === CALL_IT) return (own as (...args: unknown[]) => unknown)(...args);
    if (member === "asyncDispose") return (own as AsyncDisposable)[Symbol.asyncDispose]();
    const found = (own as Members)[member];
    return typeof found === "function" ? found.apply(own, args) : found;
  }

  #step(target: number, [count, name]: [number, "next" | "return"]): unknown {
    const key = `${target} ${count}`;
    let iterator = this.#iterators.get(key);
    if (iterator === undefined) {
      iterator = (this.#values.own(target) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
      this.#iterators.set(key, iterator);
    }
    return iterator[name]?.() ?? { done: true, value: undefined };
  }

  #settle(waiting: Map<number, PromiseWithResolvers<unknown>>, message: ChannelMessage): void {
    const [, number, isOk, wire] = message as ["answer", number, boolean, Wire];
    const value = this.#values.decode(wire);
    const settling = waiting.get(number);
    waiting.delete(number);
    if (isOk) settling?.resolve(value);
    else settling?.reject(value);
  }

  // Objects that stay where they are.

  #onNumber(value: object, number: number): void {
    if (!(value instanceof Promise)) return;
    value.then(
      (result) => this.#send(["settled", number, true, this.#values.encode(result)]),
      (error) => this.#send(["settled", number, false, this.#values.encode(error)]),
    );
  }

  #make(kind: string, number: number, rest: readonly unknown[]): object {
    switch (kind) {
      case "function":
        return (...args: unknown[]) => this.call(number, CALL_IT, args);
      case "iterable":
        return { [Symbol.asyncIterator]: () => this.iterate(number) };
      case "contextValues":
        return createContextValues();
      case "promise":
        return this.#promiseOf(number);
      case "signal":
        return this.#signalOf(number, rest as [boolean, unknown]);
    }
    throw new Error(`there is nothing that stands for a ${kind}`);
  }

  #promiseOf(number: number): Promise<unknown> {
    const settling = Promise.withResolvers<unknown>();
    settling.promise.catch(() => {});
    this.#promises.set(number, settling);
    return settling.promise;
  }

  /** A signal that aborts when the other end's does. It says whether anything listens to it, so that no listener outlives that. */
  #signalOf(number: number, [isAborted, reason]: [boolean, unknown]): AbortSignal {
    const controller = new AbortController();
    const { signal } = controller;
    if (isAborted) {
      controller.abort(reason);
      return signal;
    }
    this.#controllers.set(number, controller);
    let listeners = 0;
    const count = (change: number) => {
      listeners += change;
      if (listeners === Math.max(change, 0)) this.#send(["listens", number, change > 0]);
    };
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      addEventListener.apply(signal, args);
      count(1);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      removeEventListener.apply(signal, args);
      count(-1);
    };
    return signal;
  }

  #passAborts(number: number, isListening: boolean): void {
    const signal = this.#values.own(number) as AbortSignal;
    const before = this.#passing.get(number);
    if (before !== undefined) signal.removeEventListener("abort", before);
    this.#passing.delete(number);
    if (!isListening) return;
    const pass = () => this.#send(["abort", number, this.#values.encode(signal.reason)]);
    if (signal.aborted) pass();
    else signal.addEventListener("abort", pass, { once: true });
    this.#passing.set(number, pass);
  }

  #encodeAll(values: readonly unknown[]): Wire[] {
    return values.map((value) => this.#values.encode(value));
  }

  #send(message: ChannelMessage): void {
    if (this.#messages.push(message) === 1) this.#later(() => this.flush());
  }

  /** Sends the messages that wait for the end of the task. */
  flush(): void {
    if (this.#messages.length === 0) return;
    const messages = this.#messages;
    this.#messages = [];
    this.#post(JSON.stringify(messages));
  }
}

function describe(value: object): ReturnType<StandIns["describe"]> {
  if (typeof value === "function") return ["function"];
  // What is in them stays where it was set: its keys are objects.
  if ("get" in value && "set" in value && "delete" in value) return ["contextValues"];
  if (value instanceof Promise) return ["promise"];
  if (value instanceof AbortSignal) return ["signal", value.aborted, value.reason];
  if (Symbol.asyncIterator in value) return ["iterable"];
  return undefined;
}
