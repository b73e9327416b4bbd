import { handled } from "../../src/failure.ts";
import { pump } from "../../src/flow/pump.ts";

/** Pumps to a writer; `done` resolves when all is written or it was stopped, and rejects with what fails the writer. */
export function pumped<T>(
  messages: AsyncIterable<T>,
  writer: { write(message: T): Promise<void> | undefined; end?(): unknown },
): { readonly done: Promise<void>; stop(): void } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const pumping = pump(messages, {
    write: (message) => writer.write(message),
    end() {
      writer.end?.();
      resolve();
    },
    fail: reject,
  });
  return {
    done: handled(promise),
    stop() {
      pumping.stop();
      resolve();
    },
  };
}
