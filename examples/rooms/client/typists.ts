import { oneLine } from "../../terminal/output.ts";
import type { RoomEvent } from "./appearance.ts";

/** Who types says so again after this, in milliseconds. */
export const TYPING_MS = 3000;

/** Who has not said so for longer has stopped. */
const FORGET_MS = 2 * TYPING_MS;

/** Who is typing now, in a few words that follow the events of a room. */
export class Typists implements Disposable {
  readonly #self: string;
  readonly #show: (text: string) => void;
  readonly #forgetting = new Map<string, NodeJS.Timeout>();

  /**
   * @param self is none of them
   * @param show gets the words each time they change; "" where nobody types
   */
  constructor(self: string, show: (text: string) => void) {
    this.#self = self;
    this.#show = show;
  }

  observe({ case: kind, value }: RoomEvent): void {
    if (kind === "typing" && value.name !== this.#self) this.#add(value.name);
    else if (kind === "message" || kind === "left") this.#remove(value.name);
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
