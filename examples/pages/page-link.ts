/**
 * The WebSockets of this page, which can be cut. A script cannot pull a cable, but a WebSocket that it closes drops what comes
 * from then on: what was on its way to the page is lost, as with a cable, and must come again over the next one.
 */
export class PageLink {
  readonly #sockets = new Set<WebSocket>();
  #isHeld = false;

  /** Every WebSocket that this page makes from now on belongs to the link. */
  static install(): PageLink {
    const link = new PageLink();
    globalThis.WebSocket = class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        link.#add(this);
      }
    };
    return link;
  }

  private constructor() {}

  /** Whether the link is held: it is cut, and stays so. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.close();
  }

  /** Cuts the link until release(): no WebSocket can be opened. */
  hold(): void {
    this.#isHeld = true;
    this.cut();
  }

  release(): void {
    this.#isHeld = false;
    // As the browser tells when the machine has a network again: Hawser then connects at once.
    dispatchEvent(new Event("online"));
  }

  #add(socket: WebSocket): void {
    this.#sockets.add(socket);
    socket.addEventListener("close", () => this.#sockets.delete(socket));
    if (this.#isHeld) socket.close();
  }
}
