/** The receiver's end of a stream, with several concurrent readers and messages that take time to open. */
import { describe, expect, onTestFinished, test, vi } from "vitest";
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

describe("messages that share the buffer of a socket read", () => {
  const KIB = 1024;

  /** An inbox of numbers that are parts of `read.current`. A copy is 100 larger. */
  function sharingInbox() {
    const copied: number[] = [];
    const read = { current: new Uint8Array(64 * KIB) };
    const inbox = new Inbox<number, number>({
      open: (n) => n,
      readOf: () => read.current,
      keep(n) {
        copied.push(n);
        return n + 100;
      },
    });
    const put = (...numbers: number[]) => {
      for (const n of numbers) inbox.put(n);
    };
    const take = async () => (await inbox.next()).value;
    return { copied, read, put, take };
  }

  test("are copied once when they have waited for two tenths of a second", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { copied, put, take } = sharingInbox();
    put(1, 2, 3);
    vi.advanceTimersByTime(100);
    put(4, 5);
    expect(await take()).toBe(1);
    expect(copied).toEqual([]);
    vi.advanceTimersByTime(100);
    expect(copied).toEqual([2, 3]);
    vi.advanceTimersByTime(100);
    expect(copied).toEqual([2, 3, 4, 5]);
    vi.advanceTimersByTime(1000);
    expect(copied).toEqual([2, 3, 4, 5]);
    expect(vi.getTimerCount()).toBe(0);
    put(6);
    expect([await take(), await take(), await take(), await take(), await take()]).toEqual([
      102, 103, 104, 105, 6,
    ]);
  });

  test("are copied when 4 to 8 MiB of such buffers have arrived since, so that all inboxes together keep no more", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    onTestFinished(() => void vi.useRealTimers());
    const { copied, put } = sharingInbox();
    const other = sharingInbox();
    put(1);
    for (let n = 0; n < 127; n++) {
      if (n < 64) expect(copied).toEqual([]);
      other.read.current = new Uint8Array(64 * KIB);
      other.put(n);
      expect(await other.take()).toBe(n);
      await new Promise(setImmediate);
    }
    expect(copied).toEqual([1]);
  });

  test("are not copied if they are taken before", async () => {
    const { copied, read, put, take } = sharingInbox();
    for (let n = 0; n < 512; n++) {
      read.current = new Uint8Array(64 * KIB);
      put(n, n + 1000);
      expect([await take(), await take()]).toEqual([n, n + 1000]);
      await new Promise(setImmediate);
    }
    expect(copied).toEqual([]);
  });
});
