/**
 * An AbortController whose signal is made when it is first asked for. Most calls need none, since onAbort() listens
 * without it; and the two objects of an AbortController, with a listener, take a tenth of the memory of an idle call.
 */
export class LazyAbortController {
  #aborted: { readonly reason: unknown } | undefined;
  #listening: Listening | undefined;
  #controller: AbortController | undefined;

  get aborted(): boolean {
    return this.#aborted !== undefined;
  }

  get reason(): unknown {
    return this.#aborted?.reason;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  /** Does nothing if it has aborted. */
  abort(reason: unknown): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = { reason };
    const listening = this.#listening;
    this.#listening = undefined;
    listening?.call(reason);
    this.#controller?.abort(reason);
  }

  /**
   * Calls `listener` at abort(), without the signal. There is at most one such listener: returns `undefined` if there is
   * one already.
   */
  listen(listener: (reason: unknown) => void): Disposable | undefined {
    if (this.#listening !== undefined) return undefined;
    this.#listening = new Listening(listener, this);
    return this.#listening;
  }

  /** Only for what listen() returns. */
  forget(listening: Disposable): void {
    if (this.#listening === listening) this.#listening = undefined;
  }
}

class Listening implements Disposable {
  readonly #listener: (reason: unknown) => void;
  readonly #controller: LazyAbortController;

  constructor(listener: (reason: unknown) => void, controller: LazyAbortController) {
    this.#listener = listener;
    this.#controller = controller;
  }

  call(reason: unknown): void {
    this.#listener(reason);
  }

  [Symbol.dispose](): void {
    this.#controller.forget(this);
  }
}
