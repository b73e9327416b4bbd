import { oneLine } from "../../terminal/one-line.ts";
import type { ShownEvent } from "./event-line.ts";

/** A member who types sends "typing" again after this, in milliseconds. */
export const TYPING_MS = 3000;

/** A member whose last "typing" is older than this has stopped, in milliseconds. */
const FORGET_MS = 2 * TYPING_MS;

/** The members who are typing now, as a short text that follows the events of a room. */
export class Typists implements Disposable {
  readonly #self: string;
  readonly #show: (text: string) => void;
  readonly #forgetting = new Map<string, ReturnType<typeof setTimeout>>();

  /**
   * @param self the name of this member, which the text leaves out
   * @param show gets the text each time it changes; "" if no member types
   */
  constructor(self: string, show: (text: string) => void) {
    this.#self = self;
    this.#show = show;
  }

  observe({ case: kind, value }: ShownEvent): void {
    if (kind === "typing" && value.name !== this.#self) this.#add(value.name);
    else if (kind === "message") this.#remove(value.name);
    else if (kind === "membersChanged") for (const { name } of value.left) this.#remove(name);
  }

  #add(name: string): void {
    const known = this.#forgetting.get(name);
    clearTimeout(known);
    this.#forgetting.set(
      name,
      setTimeout(() => this.#remove(name), FORGET_MS),
    );
    if (known === undefined) this.#changed();
  }

  #remove(name: string): void {
    clearTimeout(this.#forgetting.get(name));
    if (this.#forgetting.delete(name)) this.#changed();
  }

  #changed(): void {
    const [first = "", second = "", ...others] = [...this.#forgetting.keys()].map(oneLine);
    if (first === "") this.#show("");
    else if (second === "") this.#show(`${first} is typing…`);
    else if (others.length === 0) this.#show(`${first} and ${second} are typing…`);
    else this.#show(`${others.length + 2} are typing…`);
  }

  [Symbol.dispose](): void {
    for (const timer of this.#forgetting.values()) clearTimeout(timer);
  }
}
