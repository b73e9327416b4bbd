/** The receiver's end of a stream, with several concurrent readers and messages that take time to open. */
import { expect, test } from "vitest";
import { Inbox } from "../src/flow/inbox.ts";

/** Opens even numbers immediately and odd ones later, as large gzip messages are. */
function slowly() {
  const opened: (() => void)[] = [];
  const inbox = new Inbox<number, number>({
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
  for (const n of [1, 2, 3, 4]) inbox.put(n);
  open();
  await turns();
  for (const n of [6, 8]) inbox.put(n);
  open();
  const values = (await Promise.all(readers)).map(({ value }) => value);
  expect(values).toEqual([1, 2, 3, 4, 6, 8]);
});

test("a close after a message that is being opened ends every reader", async () => {
  const { inbox, open } = slowly();
  const readers = Array.from({ length: 4 }, () => inbox.next());
  inbox.put(1);
  inbox.close();
  open();
  expect(await Promise.all(readers)).toEqual([
    { done: false, value: 1 },
    ...Array(3).fill({ done: true, value: undefined }),
  ]);
});

test("an inbox throws its failure once, then the iteration ends", async () => {
  const { inbox } = slowly();
  inbox.put(2);
  inbox.close(new Error("cut"));
  expect(await inbox.next()).toEqual({ done: false, value: 2 });
  await expect(inbox.next()).rejects.toThrow("cut");
  expect(await inbox.next()).toEqual({ done: true, value: undefined });
});

test("each message is either opened or dropped, so that its sender can be told", async () => {
  const opened: number[] = [];
  const dropped: number[] = [];
  const inbox = new Inbox<number, number>({
    open: (n) => opened.push(n),
    drop: (n) => void dropped.push(n),
  });
  for (let n = 0; n < 4; n++) inbox.put(n);
  await inbox.next();
  await inbox.return();
  inbox.put(4);
  expect({ opened, dropped }).toEqual({ opened: [0], dropped: [1, 2, 3, 4] });
});

test("what its consumer takes in the turn of its arrival is not copied, what waits longer is copied once", async () => {
  const copied: number[] = [];
  const opened: number[] = [];
  const inbox = new Inbox<number, number>({
    open: (n) => n,
    keep(n) {
      copied.push(n);
      return n + 100;
    },
  });
  const consumer = (async () => {
    for (let n = 0; n < 3; n++) opened.push((await inbox.next()).value ?? 0);
  })();
  // As at the arrival of data: a turn of the event loop with no microtask yet.
  await new Promise<void>((arrived) => {
    setImmediate(() => {
      for (const n of [1, 2, 3, 4, 5]) inbox.put(n);
      arrived();
    });
  });
  await consumer;
  await new Promise(setImmediate);
  expect({ opened, copied }).toEqual({ opened: [1, 2, 3], copied: [4, 5] });
  inbox.put(6);
  await new Promise(setImmediate);
  expect(copied).toEqual([4, 5, 6]);
  const rest = [await inbox.next(), await inbox.next(), await inbox.next()];
  expect(rest.map(({ value }) => value)).toEqual([104, 105, 106]);
});
