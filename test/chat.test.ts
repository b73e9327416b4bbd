import { expect, test } from "vitest";
import type { Greeter } from "../gen/example/greeter_pb.js";
import { Code } from "../src/index.ts";
import type { ServiceImpl } from "../src/server.ts";
import { aborted, gate, stillAt, until } from "./support/gate.ts";
import { inPage } from "./support/mode.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

// In a page test/browser/survival.test.ts has it: here each message would have two round trips to the page.
test.skipIf(inPage)(
  "10,000 messages come back in order while both directions overlap",
  async () => {
    await using world = await start();
    const chat = world.greeter.chat();
    const replied = gate();
    let sent = 0;
    const sending = (async () => {
      for (; sent < 10_000; sent++) {
        // The second half leaves while the replies to the first come in.
        if (sent === 5_000) await replied.opened;
        await chat.send({ content: `Message ${sent}` });
      }
      chat.closeSend();
    })();

    const replies: string[] = [];
    for await (const { reply } of chat) {
      if (replies.push(reply) === 1) replied.open();
    }
    await sending;
    expect(replies).toEqual(Array.from({ length: 10_000 }, (_, n) => `Received: Message ${n}`));
  },
);

test("each message gets its reply before the next message is sent", async () => {
  await using world = await start();
  const chat = world.greeter.chat();
  for (let n = 0; n < 500; n++) {
    await chat.send({ content: `${n}` });
    expect(await next(chat)).toMatchObject({ reply: `Received: ${n}` });
  }
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
});

test("messages of 50 loops that send at the same time arrive whole, and those of each loop in order", async () => {
  await using world = await start();
  const chat = world.greeter.chat();
  const text = (place: number, n: number) =>
    `${place}/${n}/${"=".repeat((place * 97 + n * 31) % 3_000)}`;
  const places = Array.from({ length: 50 }, async (_, place) => {
    for (let n = 0; n < 100; n++) await chat.send({ content: text(place, n) });
  });
  void Promise.all(places).then(() => chat.closeSend());

  const byPlace = Array.from({ length: 50 }, () => [] as string[]);
  for await (const { reply } of chat) {
    const content = reply.replace("Received: ", "");
    byPlace[Number.parseInt(content, 10)]?.push(content);
  }
  expect(byPlace).toEqual(
    Array.from({ length: 50 }, (_, place) => Array.from({ length: 100 }, (_, n) => text(place, n))),
  );
});

test("messages leave in the order of the calls of send(), even when these are not awaited", async () => {
  await using world = await start();
  const chat = world.greeter.chat();
  for (let n = 0; n < 2_000; n++) void chat.send({ content: `${n}` });
  chat.closeSend();
  const replies = await all(chat);
  expect(replies.map(({ reply }) => reply)).toEqual(
    Array.from({ length: 2_000 }, (_, n) => `Received: ${n}`),
  );
});

const KIB_64 = { content: "x".repeat(64 * 1024) };
const GIB_IN_64_KIB = 16 * 1024;
const MIB = 1024 * 1024;

/** A handler that waits for the end of its call. */
const readsNothing: NonNullable<ServiceImpl<typeof Greeter>["chat"]> = async function* (
  _requests,
  { signal },
) {
  await aborted(signal);
  yield* [];
};

test.each([
  ["from one place", 1],
  ["from 50 places", 50],
])(
  "send() waits when the handler does not read: 1 GiB offered %s, memory stays flat",
  async (_, places) => {
    await using world = await start({
      greeter: { chat: readsNothing },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "the connection is there" });

    const before = memory();
    let sent = 0;
    const offers = Array.from({ length: places }, async () => {
      while (sent < GIB_IN_64_KIB) {
        await chat.send(KIB_64);
        sent++;
      }
    });
    const taken = await stillAt(() => sent);
    expect(taken * 64 * 1024).toBeLessThan(16 * MIB);
    expect(memory() - before).toBeLessThan(48 * MIB);

    chat.cancel();
    for (const offer of offers) expect((await failureOf(offer)).code).toBe(Code.Canceled);
  },
);

// What send() is given waits in the test, and not in the page: this is the memory of the test.
test.skipIf(inPage)(
  "memory stays flat when 1 GiB is offered to a handler that does not read, and send() is not awaited",
  async () => {
    await using world = await start({
      greeter: { chat: readsNothing },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "the connection is there" });
    const before = memory();
    for (let n = 0; n < GIB_IN_64_KIB; n++) void chat.send(KIB_64);
    await stillAt(() => process.memoryUsage().arrayBuffers);
    expect(memory() - before).toBeLessThan(64 * MIB);
    chat.cancel();
  },
);

test("send() waits when the link is stalled: 1 GiB offered, memory stays flat", async () => {
  await using world = await start({ linked: true });
  const chat = world.greeter.chat();
  await chat.send({ content: "the connection is there" });
  await next(chat);
  world.link.stall();
  const before = memory();
  let sent = 0;
  const offer = (async () => {
    for (; sent < GIB_IN_64_KIB; sent++) await chat.send(KIB_64);
  })();
  expect((await stillAt(() => sent)) * 64 * 1024).toBeLessThan(16 * MIB);
  expect(memory() - before).toBeLessThan(48 * MIB);
  chat.cancel();
  expect((await failureOf(offer)).code).toBe(Code.Canceled);
  world.link.resume();
});

test("a request iterable is taken no faster than the handler reads", async () => {
  await using world = await start({
    greeter: {
      async *chat(_requests, { signal }) {
        await aborted(signal);
        yield* [];
      },
    },
  });
  let taken = 0;
  const finished = gate();
  async function* endless() {
    try {
      for (; ; taken++) yield KIB_64;
    } finally {
      finished.open();
    }
  }
  const replies = world.greeter.chat(endless());
  expect((await stillAt(() => taken)) * 64 * 1024).toBeLessThan(16 * MIB);
  replies.cancel();
  await finished.opened;
});

test("a handler's yield waits when the client does not read", async () => {
  let yielded = 0;
  const finished = gate();
  await using world = await start({
    greeter: {
      async *chat() {
        try {
          for (; yielded < GIB_IN_64_KIB; yielded++) yield { reply: KIB_64.content };
        } finally {
          finished.open();
        }
      },
    },
  });
  const before = memory();
  const chat = world.greeter.chat();
  const stoodAt = await stillAt(() => yielded);
  expect(stoodAt).toBeGreaterThan(0);
  expect(stoodAt * 64 * 1024).toBeLessThan(16 * MIB);
  expect(memory() - before).toBeLessThan(48 * MIB);

  // The handler continues as soon as the client reads.
  for (let n = 0; n <= stoodAt; n++) await next(chat);
  await until("the handler continues", () => yielded > stoodAt);
  chat.cancel();
  await finished.opened;
});

test("one stalled reader does not hold up the other calls of its connection", async () => {
  const stalled = gate();
  await using world = await start({
    greeter: {
      async *chat(requests) {
        for await (const { content } of requests) {
          if (content === "stall") await stalled.opened;
          yield { reply: content };
        }
      },
    },
  });
  const stuck = Array.from({ length: 10 }, () => world.greeter.chat());
  for (const chat of stuck) {
    await chat.send({ content: "stall" });
    for (let n = 0; n < 12; n++) void chat.send(KIB_64);
  }
  const other = world.greeter.chat();
  for (let n = 0; n < 30; n++) {
    await other.send(KIB_64);
    expect((await next(other))?.reply).toHaveLength(KIB_64.content.length);
  }
  other.closeSend();
  expect(await next(other)).toBeUndefined();
  stalled.open();
  for (const chat of stuck) {
    chat.closeSend();
    expect(await all(chat)).toHaveLength(13);
  }
});

test("messages of 3 MiB arrive, both ways", async () => {
  await using world = await start();
  const chat = world.greeter.chat();
  const content = "abcdefgh".repeat((3 * MIB) / 8);
  void chat.send({ content });
  void chat.send({ content });
  chat.closeSend();
  const replies = await all(chat);
  expect(replies.map(({ reply }) => reply === `Received: ${content}`)).toEqual([true, true]);
});

test("text arrives from both ends of every plane of Unicode", async () => {
  const planes = Array.from({ length: 17 }, (_, plane) => plane * 0x1_0000);
  const texts = [
    ...planes.map((plane) =>
      String.fromCodePoint(plane, plane + 0x61, plane + 0xfffd, plane + 0xffff),
    ),
    "\u0000\u007f\u0080\u07ff\u0800\ud7ff\ue000\u{10ffff}",
    "e\u0301 ﷽ 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 שלום\u202e \ufeffZ\u0336",
  ];
  await using world = await start();
  const chat = world.greeter.chat();
  for (const content of texts) void chat.send({ content });
  chat.closeSend();
  expect((await all(chat)).map(({ reply }) => reply)).toEqual(
    texts.map((text) => `Received: ${text}`),
  );
});

test("a call without messages in either direction ends well", async () => {
  await using world = await start();
  const chat = world.greeter.chat();
  chat.closeSend();
  expect(await all(chat)).toEqual([]);
  await chat.trailers;
});

test("empty messages arrive as messages", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: content };
      },
    },
  });
  const chat = world.greeter.chat();
  for (let n = 0; n < 10; n++) void chat.send({});
  chat.closeSend();
  expect(await all(chat)).toMatchObject(Array.from({ length: 10 }, () => ({ reply: "" })));
});

test("requests are taken from an iterable, and replies come as they are made", async () => {
  await using world = await start();
  const first = gate();
  async function* requests() {
    yield { content: "one" };
    await first.opened;
    yield { content: "two" };
  }
  const replies: string[] = [];
  for await (const { reply } of world.greeter.chat(requests())) {
    replies.push(reply);
    first.open();
  }
  expect(replies).toEqual(["Received: one", "Received: two"]);
});

test("a call of each of the four kinds is served", async () => {
  await using world = await start();
  const { greeter } = world;
  expect((await greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");

  const pushed = await all(greeter.subscribe({ count: 3, interval: {} }));
  expect(pushed.map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n]);

  const sink = greeter.collect();
  for (const content of ["a", "bc", "ä"]) await sink.send({ content });
  expect(await sink.finish()).toMatchObject({ count: 3, bytes: 5n });

  async function* requests() {
    yield { content: "abc" };
    yield { content: "de" };
  }
  expect(await greeter.collect(requests())).toMatchObject({ count: 2, bytes: 5n });
});

test("the state of a call is connecting, then open, then closed", async () => {
  await using world = await start();
  const chat = world.greeter.chat();
  expect(chat.state).toBe("connecting");
  await chat.send({ content: "x" });
  await next(chat);
  expect(chat.state).toBe("open");
  chat.closeSend();
  expect(chat.state).toBe("open");
  await next(chat);
  expect(chat.state).toBe("closed");
});

/** Bytes that this process holds and needs. */
function memory(): number {
  gc?.();
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}
