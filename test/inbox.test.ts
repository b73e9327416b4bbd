/** The receiver's end of a stream, with several readers at once and messages that take time to open. */
import { expect, test } from "vitest";
import { Inbox } from "../src/flow/inbox.ts";

/** Opens even numbers at once and odd ones later, as large gzip messages are. */
function slowly() {
  const opened: (() => void)[] = [];
  const inbox = new Inbox<number, number>(1024, {
    open: (n) => (n % 2 === 0 ? n : new Promise((open) => opened.push(() => open(n)))),
  });
  return { inbox, open: () => opened.shift()?.() };
}

const turns = async () => {
  for (let n = 0; n < 20; n++) await null;
};

test("each of several readers gets its message, in the order of their calls", async () => {
  const { inbox, open } = slowly();
  const readers = Array.from({ length: 6 }, () => inbox.next());
  for (const n of [1, 2, 3, 4]) inbox.put(n, 1);
  open();
  await turns();
  for (const n of [6, 8]) inbox.put(n, 1);
  open();
  const values = (await Promise.all(readers)).map(({ value }) => value);
  expect(values).toEqual([1, 2, 3, 4, 6, 8]);
});

test("a close behind a message that is being opened ends every reader", async () => {
  const { inbox, open } = slowly();
  const readers = Array.from({ length: 4 }, () => inbox.next());
  inbox.put(1, 1);
  inbox.close();
  open();
  expect(await Promise.all(readers)).toEqual([
    { done: false, value: 1 },
    ...Array(3).fill({ done: true, value: undefined }),
  ]);
});

test("a failure is thrown once, then the iteration is over", async () => {
  const { inbox } = slowly();
  inbox.put(2, 1);
  inbox.close(new Error("cut"));
  expect(await inbox.next()).toEqual({ done: false, value: 2 });
  await expect(inbox.next()).rejects.toThrow("cut");
  expect(await inbox.next()).toEqual({ done: true, value: undefined });
});

test("it says when there is enough inside, and when there is room again", async () => {
  let room = 0;
  const inbox = new Inbox<number, number>(1000, { open: (n) => n, onRoom: () => room++ });
  const put = Array.from({ length: 10 }, (_, n) => inbox.put(n, 100));
  expect(put.indexOf(false)).toBe(6);
  for (let n = 0; n < 4; n++) await inbox.next();
  expect(room).toBe(0);
  for (let n = 4; n < 9; n++) await inbox.next();
  expect(room).toBe(1);
});
