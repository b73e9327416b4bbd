/** When a page writes its output. */
import { expect, test } from "vitest";
import { webRuntime, writes } from "../src/web/runtime.ts";

const microtasks = async (count: number) => {
  for (let n = 0; n < count; n++) await undefined;
};
const inNextTask = () => new Promise((resolve) => setImmediate(resolve));

test("output is written in a task of its own, after all microtasks of the task before", async () => {
  let isWritten = false;
  webRuntime.afterMicrotasks(() => {
    isWritten = true;
  });
  await microtasks(1000);
  expect(isWritten).toBe(false);
  await expect.poll(() => isWritten).toBe(true);
});

test("what a small message causes is written without another task, once, and the rest in a task", async () => {
  const written: string[] = [];
  writes.expectAnswer();
  await microtasks(5);
  webRuntime.afterMicrotasks(() => {
    written.push("answer");
    webRuntime.afterMicrotasks(() => written.push("rest"));
  });
  webRuntime.afterMicrotasks(() => written.push("beside it"));
  await microtasks(5);
  expect(written).toEqual([]);
  await microtasks(20);
  expect(written).toEqual(["answer", "beside it"]);
  await microtasks(1000);
  expect(written).toHaveLength(2);
  await expect.poll(() => written).toEqual(["answer", "beside it", "rest"]);
});

test("an answer that comes late is written in a task", async () => {
  let isWritten = false;
  writes.expectAnswer();
  await inNextTask();
  webRuntime.afterMicrotasks(() => {
    isWritten = true;
  });
  await microtasks(1000);
  expect(isWritten).toBe(false);
  await expect.poll(() => isWritten).toBe(true);
});

test.each([0, 1, 7, 8, 9, 16, 25, 63, 64, 65, 200])("a text of %i characters is read", (length) => {
  const text = Array.from({ length }, (_, n) => String.fromCharCode(33 + (n % 90))).join("");
  const bytes = new TextEncoder().encode(`>>${text}<<`);
  expect(webRuntime.asciiText(bytes, 2, 2 + length)).toBe(text);
});
