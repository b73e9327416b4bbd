import { callable } from "../options.ts";
import { leave, pump } from "./pump.ts";
import { type Pump, type Pumpable, pumpTo, type Writer } from "./writer.ts";

/**
 * Returns an iterable. Each iteration calls `open` and yields the values of the iterable that `open` resolves to. If
 * `open` rejects, the iteration throws that error. A handler returns such an iterable if it must wait before it knows
 * its responses; they are then written as fast as if the handler had not waited. An `async function*` that passes each
 * value on is slower.
 */
export function later<T>(open: () => Promise<AsyncIterable<T>>): AsyncIterable<T> {
  callable(open, { of: "later", option: "open" });
  return new Later(open);
}

class Later<T> implements AsyncIterable<T>, Pumpable<T> {
  readonly #open: () => Promise<AsyncIterable<T>>;

  constructor(open: () => Promise<AsyncIterable<T>>) {
    this.#open = open;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, undefined> {
    yield* await this.#open();
    return undefined;
  }

  [pumpTo](writer: Writer<T>, onReturnError?: (error: unknown) => void): Pump {
    let opened: Pump | undefined;
    let stopped = false;
    const run = async () => {
      const iterable = await this.#open();
      if (stopped) leave(iterable[Symbol.asyncIterator](), onReturnError);
      else opened = pump(iterable, writer, onReturnError);
    };
    run().catch((error) => writer.fail(error));
    return {
      stop() {
        stopped = true;
        opened?.stop();
      },
    };
  }
}
