/** gzip by the streams of a browser. */
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test, vi } from "vitest";
import { webGzip } from "../src/web/gzip.ts";
import { failureOf } from "./support/read.ts";

test("a message that inflates to too much fails with that, also if the stream cannot be cancelled", async () => {
  const cancelled = Promise.withResolvers<void>();
  const rejections: unknown[] = [];
  const onRejection = (error: unknown) => rejections.push(error);
  process.on("unhandledRejection", onRejection);
  onTestFinished(() => void process.off("unhandledRejection", onRejection));
  vi.stubGlobal(
    "DecompressionStream",
    class {
      readonly writable = new WritableStream();
      readonly readable = new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(100_000)),
        cancel() {
          cancelled.resolve();
          throw new TypeError("the rest is not gzip");
        },
      });
    },
  );
  onTestFinished(() => void vi.unstubAllGlobals());
  const bytes = gzipSync(new Uint8Array(100));
  const inflating = webGzip.inflate(bytes, { readMaxBytes: 1000, owner: {} }, (plain) => plain);
  expect(String(await failureOf(inflating.done))).toMatch(/inflates to over readMaxBytes 1000 B/);
  await cancelled.promise;
  await new Promise((resolve) => setTimeout(resolve));
  expect(rejections).toEqual([]);
});
