import { expect, test } from "vitest";
import { Semaphore } from "../src/flow/semaphore.ts";
import { gate } from "./support/gate.ts";

/** Work that is noted when it begins, and ends when the test says so. */
function limitedTo(limit: number) {
  const semaphore = new Semaphore(limit);
  const begun: string[] = [];
  return {
    semaphore,
    begun,
    work(name: string, owner?: object) {
      const end = gate();
      const job = semaphore.start(async () => {
        begun.push(name);
        await end.opened;
        return name;
      }, owner);
      return { ...job, end };
    },
  };
}

test("each place runs one task at a time, and the others follow in the order in which they came", async () => {
  const { work, begun } = limitedTo(2);
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => work(name));
  expect(begun).toEqual(["a", "b"]);
  b?.end.open();
  expect(await b?.done).toBe("b");
  expect(begun).toEqual(["a", "b", "c"]);
  for (const job of [a, c, d]) job?.end.open();
  expect(await Promise.all([a?.done, c?.done, d?.done])).toEqual(["a", "c", "d"]);
});

test("work that fails, even before it has made a promise, frees its place for the next", async () => {
  const { semaphore, work, begun } = limitedTo(1);
  const refused = semaphore.run(() => {
    throw new Error("refused");
  });
  const failed = semaphore.run(async () => {
    throw new Error("later");
  });
  const next = work("next");
  await expect(refused).rejects.toThrow("refused");
  await expect(failed).rejects.toThrow("later");
  next.end.open();
  expect(await next.done).toBe("next");
  expect(begun).toEqual(["next"]);
});

test("work that is dropped while it waits never begins, and work that runs continues", async () => {
  const { work, begun } = limitedTo(1);
  const [running, dropped, last] = ["running", "dropped", "last"].map((name) => work(name));
  dropped?.drop(new Error("not needed any more"));
  running?.drop(new Error("too late"));
  await expect(dropped?.done).rejects.toThrow("not needed any more");
  running?.end.open();
  expect(await running?.done).toBe("running");
  last?.end.open();
  expect(await last?.done).toBe("last");
  expect(begun).toEqual(["running", "last"]);
});

test("work that has waited for long is dropped together; work that runs or came later is not", async () => {
  const { semaphore, work, begun } = limitedTo(1);
  const [running, ...waiting] = ["running", "first", "second"].map((name) => work(name));
  semaphore.dropWaiting(60_000, new Error("not yet"));
  expect(begun).toEqual(["running"]);
  semaphore.dropWaiting(0, new Error("waited for long"));
  for (const { done } of waiting) await expect(done).rejects.toThrow("waited for long");
  const later = work("later");
  running?.end.open();
  later.end.open();
  expect(await Promise.all([running?.done, later.done])).toEqual(["running", "later"]);
});

test("the owners of work take turns, however much of it each adds; that of one keeps its order", async () => {
  const { work, begun } = limitedTo(1);
  const [ada, bob] = [{}, {}];
  const many = ["1", "2", "3", "4"].map((n) => work(`ada ${n}`, ada));
  const few = ["1", "2"].map((n) => work(`bob ${n}`, bob));
  const nobodys = work("nobody's");
  many[2]?.drop(new Error("not needed"));
  await expect(many[2]?.done).rejects.toThrow("not needed");
  for (const job of [...many, ...few, nobodys]) job.end.open();
  await Promise.all([many[3]?.done, few[1]?.done, nobodys.done]);
  expect(begun).toEqual(["ada 1", "ada 2", "bob 1", "nobody's", "ada 4", "bob 2"]);
});

test("work of several owners that has waited for long is dropped together", async () => {
  const { semaphore, work } = limitedTo(1);
  const running = work("running");
  const waiting = [work("ada", {}), work("bob", {})];
  semaphore.dropWaiting(0, new Error("waited for long"));
  for (const { done } of waiting) await expect(done).rejects.toThrow("waited for long");
  running.end.open();
  await running.done;
});
