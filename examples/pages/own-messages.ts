/** As many of the newest own messages of a room are remembered: a list shows no more. */
const REMEMBERED = 300;

/** What keeps texts as long as the tab is open: `sessionStorage`. */
interface TabStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Which messages of a room this tab has written, by their cursors. It remembers them when the page is loaded again. */
export class OwnMessages {
  readonly #storage: TabStorage;
  readonly #key: string;
  readonly #cursors: Set<string>;

  constructor(room: string, storage: TabStorage) {
    this.#storage = storage;
    this.#key = `written in ${room}`;
    // Only this page writes there.
    this.#cursors = new Set(JSON.parse(storage.getItem(this.#key) ?? "[]"));
  }

  has(cursor: string): boolean {
    return this.#cursors.has(cursor);
  }

  add(cursor: string): void {
    this.#cursors.add(cursor);
    const [oldest = cursor] = this.#cursors;
    if (this.#cursors.size > REMEMBERED) this.#cursors.delete(oldest);
    this.#storage.setItem(this.#key, JSON.stringify([...this.#cursors]));
  }
}
