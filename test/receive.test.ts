import { expect, test } from "vitest";
import { catchUp, deliver, type Receiver } from "../src/node/http2/receive.ts";
import { memoryInUse } from "./support/memory.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Notes the first byte of each chunk. */
function listener(then: (byte: number) => void = () => {}) {
  const heard: number[] = [];
  const receiver: Receiver = {
    mayReceive: true,
    onData([byte]) {
      heard.push(byte as number);
      then(byte as number);
    },
  };
  return { heard, receiver };
}

function deliverAll(receiver: Receiver, count: number, from = 0): void {
  for (let n = from; n < from + count; n++) deliver(receiver, Uint8Array.of(n));
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

test("the first frames of a turn are delivered immediately, the rest in the next turns, in order", async () => {
  const { heard, receiver } = listener();
  deliverAll(receiver, 200);
  expect(heard).toEqual(numbers(48));
  await turn();
  expect(heard.length).toBeGreaterThan(48);
  while (heard.length < 200) await turn();
  expect(heard).toEqual(numbers(200));
});

test("a receiver that may receive no more says so, whether it gets its frame now or later", async () => {
  const full = { mayReceive: false, onData() {} };
  const { receiver } = listener();
  expect(deliver(full, Uint8Array.of(1))).toBe(false);
  deliverAll(receiver, 100);
  expect(deliver(full, Uint8Array.of(1))).toBe(false);
  expect(deliver(receiver, Uint8Array.of(1))).toBe(true);
  catchUp();
});

test("a receiver that calls catchUp() does not change the order", () => {
  const { heard, receiver } = listener((byte) => byte === 60 && catchUp());
  deliverAll(receiver, 200);
  catchUp();
  expect(heard).toEqual(numbers(200));
});

test("a receiver that throws keeps no frame from the others", async () => {
  const { heard, receiver } = listener((byte) => {
    if (byte === 60) throw new Error("thrown");
  });
  deliverAll(receiver, 200);
  expect(catchUp).toThrow("thrown");
  while (heard.length < 200) await turn();
  expect(heard).toEqual(numbers(200));
});

test("frames that were delivered are freed under a load without a pause", async () => {
  const quiet = { mayReceive: true, onData() {} };
  const used = await memoryInUse();
  for (let n = 0; n < 500; n++) {
    for (let m = 0; m < 200; m++) deliver(quiet, new Uint8Array(100));
    await turn();
  }
  const held = (await memoryInUse()) - used;
  catchUp();
  // 100,000 of them went through.
  expect(held).toBeLessThan(4_000_000);
});
