import { element } from "./dom.ts";

/** A list shows this many messages. Older ones are removed: what a page counts is not what it shows. */
const SHOWN = 300;

/** The time in which messages are gathered and then shown together. */
const GATHER_MS = 16;

/** The user reads the end of a list if not more than this is below it, in pixels. */
const AT_END_PX = 40;

/** A list of messages, which stays at its end while the user is there. Below it are the messages that wait. */
export class MessageList {
  readonly #area: HTMLElement;
  readonly #rows: HTMLElement;
  readonly #pending: HTMLElement;
  #gathered: HTMLElement[] = [];

  /** @param area a scrollable element, which becomes the list */
  constructor(area: HTMLElement) {
    this.#area = area;
    // So that the keyboard can scroll it, in every browser.
    area.tabIndex = 0;
    this.#rows = element("ol", { class: "messages" });
    this.#pending = element("ol", { class: "messages pending", "aria-label": "Waiting" });
    this.#pending.hidden = true;
    area.append(this.#rows, this.#pending);
  }

  add(row: HTMLElement): void {
    if (this.#gathered.push(row) === 1) setTimeout(() => this.#show(), GATHER_MS);
    // Of a long history only the end is shown.
    if (this.#gathered.length > 2 * SHOWN) this.#gathered.splice(1, SHOWN);
  }

  /** Shows a message that waits. Returns a function that removes it. */
  wait(row: HTMLElement): () => void {
    this.#pending.append(row);
    this.#pending.hidden = false;
    this.toEnd();
    return () => {
      row.remove();
      this.#pending.hidden = this.#pending.childElementCount === 0;
    };
  }

  /** Adds a remark of the page itself. */
  remark(text: string, kind: "quiet" | "loud" = "quiet"): void {
    this.add(element("li", { class: `remark ${kind}` }, text));
  }

  #show(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#area;
    const isAtEnd = scrollHeight - scrollTop - clientHeight <= AT_END_PX;
    this.#rows.append(...this.#gathered.splice(0).slice(-SHOWN));
    while (this.#rows.childElementCount > SHOWN) this.#rows.firstElementChild?.remove();
    if (isAtEnd) this.toEnd();
  }

  /** Scrolls to the newest message: an area that is not shown has lost its place. */
  toEnd(): void {
    this.#area.scrollTop = this.#area.scrollHeight;
  }
}

export interface MessageRow {
  readonly name: string;
  readonly text: string;
  readonly own: boolean;
  readonly at?: Date;
}

/** Makes a message of a list. */
export function messageRow({ name, text, own, at }: MessageRow): HTMLElement {
  const head = element("span", { class: "head" }, element("b", { dir: "auto" }, name));
  if (at !== undefined) {
    const shown = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    head.append(element("time", { datetime: at.toISOString() }, shown));
  }
  return element(
    "li",
    { class: own ? "message own" : "message" },
    head,
    element("span", { class: "text", dir: "auto" }, text),
  );
}
