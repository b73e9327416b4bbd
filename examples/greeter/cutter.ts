import type { Duplex } from "hawser";
import { type CuttingProxy, openCuttingProxy } from "../terminal/cutting-proxy.ts";

/** Cuts the connections of a call again and again. The call loses and repeats no message; only its `state` changes. */
export class Cutter implements AsyncDisposable {
  /** The addresses to call instead of the server's, in the same order. */
  readonly urls: readonly string[];
  readonly #proxies: readonly CuttingProxy[];
  readonly #everyMs: number;
  #timer: NodeJS.Timeout | undefined;

  static async open(urls: readonly string[], everyMs: number): Promise<Cutter> {
    await using opened = new AsyncDisposableStack();
    const proxies: CuttingProxy[] = [];
    for (const url of urls) proxies.push(opened.use(await openCuttingProxy(url)));
    opened.move();
    return new Cutter(proxies, everyMs);
  }

  private constructor(proxies: readonly CuttingProxy[], everyMs: number) {
    this.#proxies = proxies;
    this.#everyMs = everyMs;
    this.urls = proxies.map(({ url }) => url);
  }

  /** Cuts the connections each time that the call has been open for `everyMs`. */
  start(call: Pick<Duplex<never, never>, "onState">): void {
    call.onState((state) => {
      clearTimeout(this.#timer);
      if (state === "open") this.#timer = setTimeout(() => this.#cut(), this.#everyMs);
    });
  }

  #cut(): void {
    for (const proxy of this.#proxies) proxy.cut();
  }

  /** How many connections were cut. */
  get cuts(): number {
    return this.#proxies.reduce((sum, { cuts }) => sum + cuts, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    for (const proxy of this.#proxies) await proxy[Symbol.asyncDispose]();
  }
}
