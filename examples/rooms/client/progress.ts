/** The time between two drawings, in milliseconds. */
const DRAW_MS = 100;

const BAR_CELLS = 24;
const CLEAR_LINE = "\r\u001b[K";

/** Columns that stay free for the ^C that a terminal writes there: a full line would wrap, and its first part would stay. */
const FREE_COLUMNS = 3;

/** The progress of a long work: a line on stderr that is drawn again and again, only on a terminal. */
export class Progress implements Disposable {
  /** The count of messages that were sent. */
  messages = 0;
  /** The bytes of the input that these messages took. */
  bytes = 0;
  /** Called each time that the line would be drawn, even if it is not shown. */
  onTick: () => void = () => {};
  readonly #totalBytes: number | undefined;
  readonly #startedAt = performance.now();
  readonly #drawing: NodeJS.Timeout;
  readonly #shown: boolean;

  /**
   * @param shown whether the line is drawn at all
   * @param totalBytes the size of the input, if it is known
   */
  constructor(shown: boolean, totalBytes: number | undefined) {
    this.#shown = shown;
    this.#totalBytes = totalBytes;
    this.#drawing = setInterval(() => {
      this.#draw();
      this.onTick();
    }, DRAW_MS);
  }

  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }

  /** Messages a second, since the start. */
  get rate(): number {
    return this.messages / Math.max(this.seconds, 0.001);
  }

  /** Clears the drawn line, and writes another line to stderr. */
  note(line: string): void {
    this.#clear();
    process.stderr.write(`${line}\n`);
  }

  #draw(): void {
    if (!this.#shown) return;
    const line = this.#line().slice(0, (process.stderr.columns || 80) - FREE_COLUMNS);
    process.stderr.write(`${CLEAR_LINE}${line}`);
  }

  #line(): string {
    const counts = `${counted(this.messages)}, ${grouped(this.rate)} a second`;
    if (!this.#totalBytes) return counts;
    const part = Math.min(this.bytes / this.#totalBytes, 1);
    const bar = "█".repeat(Math.floor(part * BAR_CELLS)).padEnd(BAR_CELLS, "░");
    return `${bar} ${`${Math.floor(part * 100)}`.padStart(3)} %  ${counts}`;
  }

  #clear(): void {
    if (this.#shown) process.stderr.write(CLEAR_LINE);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#drawing);
    this.#clear();
  }
}

/** `1 message`, `10,000 messages` */
export function counted(messages: number | bigint): string {
  return `${grouped(messages)} message${Number(messages) === 1 ? "" : "s"}`;
}

/** `10,000` */
export function grouped(count: number | bigint): string {
  return (typeof count === "bigint" ? count : Math.round(count)).toLocaleString("en-US");
}
