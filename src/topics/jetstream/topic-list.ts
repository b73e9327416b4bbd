import { placeInTopics } from "../topic-order.ts";

/** How long a list is used. To list all topics costs the server, and this process, time for each of them. */
const FRESH_MS = 1000;

/** The names of all topics, in order, as they were a moment ago, with those to which this process has appended since. */
export class TopicList {
  #names: Promise<string[]> | undefined;
  #listedAtMs = 0;
  /** The topics to which this process has appended since the list was asked for. */
  readonly #added = new Set<string>();

  /** Returns the list. It is not changed while the caller reads it in one turn. */
  async get(list: () => Promise<string[]>): Promise<readonly string[]> {
    const nowMs = performance.now();
    if (this.#names === undefined || nowMs - this.#listedAtMs >= FRESH_MS) {
      this.#listedAtMs = nowMs;
      this.#added.clear();
      this.#names = list();
      this.#names.catch(() => {
        this.#names = undefined;
      });
    }
    const names = await this.#names;
    for (const name of this.#added) {
      const place = placeInTopics(names, name);
      if (names[place] !== name) names.splice(place, 0, name);
    }
    this.#added.clear();
    return names;
  }

  /** This process has appended to a topic. */
  add(name: string): void {
    if (this.#names !== undefined) this.#added.add(name);
  }
}
