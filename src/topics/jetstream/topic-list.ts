import { startTimer } from "../../flow/wait.ts";
import { placeInTopics } from "../topic-order.ts";

/** How long a list is used. To list all topics costs the server, and this process, time for each of them. */
const FRESH_MS = 1000;

/** The names of all topics, in order, as they were a moment ago, with those to which this process has appended since. */
export class TopicList {
  #names: Promise<string[]> | undefined;
  /** The topics to which this process has appended since the list was asked for. */
  readonly #added = new Set<string>();

  /** Returns the list. It is not changed while the caller reads it in one turn. */
  async get(list: () => Promise<string[]>): Promise<readonly string[]> {
    this.#names ??= this.#ask(list);
    const names = await this.#names;
    for (const name of this.#added) {
      const place = placeInTopics(names, name);
      if (names[place] !== name) names.splice(place, 0, name);
    }
    this.#added.clear();
    return names;
  }

  #ask(list: () => Promise<string[]>): Promise<string[]> {
    const askedAtMs = performance.now();
    const names = list();
    const forget = () => {
      if (this.#names !== names) return;
      this.#names = undefined;
      this.#added.clear();
    };
    // A list that nobody asks for again is not kept in memory.
    const whenListed = () => {
      startTimer(Math.max(askedAtMs + FRESH_MS - performance.now(), 0), forget);
    };
    names.then(whenListed, forget);
    return names;
  }

  /** This process has appended to a topic. */
  add(name: string): void {
    if (this.#names !== undefined) this.#added.add(name);
  }
}
