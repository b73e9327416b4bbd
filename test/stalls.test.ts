import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { createTransport } from "../src/index.ts";
import { gate, until } from "./support/gate.ts";
import { all, next } from "./support/read.ts";
import { roomWorld } from "./support/toy-room.ts";
import { type Setup, start } from "./support/world.ts";

// The check runs every two seconds: at the sixth, a call has made no progress for ten seconds.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());
const pass = (seconds: number) => vi.advanceTimersByTime(seconds * 1000);

/** A world that notes the warnings of its transport. */
async function warnedWorld(setup: Setup = {}) {
  const warnings: string[] = [];
  const logger = { warn: (text: string) => void warnings.push(text) };
  const world = await start({ ...setup, transport: { logger, ...setup.transport } });
  return Object.assign(world, { warnings });
}

/** Answers when all requests have come. */
const atTheEnd = {
  async *chat(requests: AsyncIterable<object>) {
    let count = 0;
    for await (const _ of requests) count++;
    yield { reply: `${count}` };
  },
};

const interceptors = [(next: unknown) => next as never];

describe("a call that waits for a response that needs closeSend()", () => {
  test.each([
    ["", {}],
    [", through interceptors", { transport: { interceptors } }],
  ])("a call logs a warning after 10 s%s, once a transport", async (_, setup) => {
    await using world = await warnedWorld({ greeter: atTheEnd, ...setup });
    const chat = world.greeter.chat();
    await chat.send({ content: "1" });
    const reply = next(chat);
    const other = world.greeter.chat();
    await other.send({ content: "1" });
    const otherReply = next(other);
    await until("they are open", () => other.state === "open" && chat.state === "open");
    pass(9);
    expect(world.warnings).toEqual([]);
    pass(3);
    expect(world.warnings).toEqual([
      "example.Greeter.Chat has waited 10 s for a response; nothing was sent meanwhile, and closeSend() was not called: a handler that answers when the requests end waits for that",
    ]);
    pass(60);
    expect(world.warnings).toHaveLength(1);
    for (const one of [chat, other]) one.closeSend();
    expect(await reply).toMatchObject({ reply: "1" });
    expect(await otherReply).toMatchObject({ reply: "1" });
    expect([...(await all(chat)), ...(await all(other))]).toEqual([]);
  });

  test("a call logs nothing while it sends", async () => {
    await using world = await warnedWorld({ greeter: atTheEnd });
    const chat = world.greeter.chat();
    const reply = next(chat);
    for (let n = 0; n < 10; n++) {
      await chat.send({ content: `${n}` });
      pass(8);
    }
    chat.closeSend();
    pass(60);
    expect(await reply).toMatchObject({ reply: "10" });
    expect(await all(chat)).toEqual([]);
    expect(world.warnings).toEqual([]);
  });

  test("a transport logs nothing for a chat that was answered and is silent now, for one that only listens, and for one that has ended", async () => {
    await using world = await warnedWorld();
    const silent = world.greeter.chat();
    await silent.send({ content: "1" });
    await next(silent);
    const listening = next(silent);
    const push = world.greeter.subscribe({});
    const pushed = next(push);
    const endedChat = world.greeter.chat();
    await endedChat.send({ content: "1" });
    endedChat.closeSend();
    await all(endedChat);
    const sink = world.greeter.collect();
    await sink.send({ content: "1" });
    pass(120);
    expect(world.warnings).toEqual([]);
    for (const call of [silent, push, sink]) call.cancel();
    await Promise.allSettled([listening, pushed]);
  });

  test("a call is watched again if it sends again after an answer", async () => {
    const answers = gate();
    let count = 0;
    await using world = await warnedWorld({
      greeter: {
        async *chat(requests) {
          for await (const { content } of requests) {
            if (++count > 1) await answers.opened;
            yield { reply: content };
          }
        },
      },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "1" });
    await next(chat);
    const second = next(chat);
    pass(60);
    expect(world.warnings).toEqual([]);
    await chat.send({ content: "2" });
    pass(12);
    expect(world.warnings).toHaveLength(1);
    answers.open();
    expect(await second).toMatchObject({ reply: "2" });
    chat.cancel();
  });
});

describe("trailers that are awaited before the call was read", () => {
  test("log a warning after 10 s, also where some responses were taken", async () => {
    await using world = await warnedWorld({
      greeter: {
        async *subscribe() {
          yield {};
          yield {};
        },
      },
    });
    const push = world.greeter.subscribe({});
    await next(push);
    const { trailers } = push;
    pass(9);
    expect(world.warnings).toEqual([]);
    pass(3);
    expect(world.warnings).toEqual([
      "example.Greeter.Subscribe has not been read for 10 s since its trailers were asked for: they come when all responses have been read; read the responses first, with for await",
    ]);
    await all(push);
    await trailers;
  });

  test("trailers of a client-streaming call log a warning that names finish()", async () => {
    await using world = await warnedWorld();
    const sink = world.greeter.collect();
    const { trailers } = sink;
    pass(12);
    expect(world.warnings).toEqual([
      expect.stringMatching(/^example\.Greeter\.Collect .*; call finish\(\) first$/),
    ]);
    await sink.finish();
    await trailers;
  });

  test("trailers of a push that continues from a cursor log a warning", async () => {
    const warnings: string[] = [];
    await using world = await roomWorld({ logger: { warn: (text) => void warnings.push(text) } });
    const watch = world.client(RoomService).watch({});
    const trailers = watch.trailers.catch(() => {});
    pass(12);
    expect(warnings).toEqual([
      expect.stringContaining("chat.v1.RoomService.Watch has not been read"),
    ]);
    watch.cancel();
    await trailers;
  });

  test("trailers that are read early log nothing if the call is read afterwards", async () => {
    await using world = await warnedWorld();
    const push = world.greeter.subscribe({});
    const trailers = push.trailers.catch(() => {});
    const reading = next(push);
    pass(120);
    await reading;
    push.cancel();
    await trailers;
    pass(120);
    expect(world.warnings).toEqual([]);
  });
});

test("each of both warnings is logged once", async () => {
  await using world = await warnedWorld({ greeter: atTheEnd });
  const chat = world.greeter.chat();
  const unread = world.greeter.chat();
  await chat.send({});
  const reply = next(chat);
  unread.trailers.catch(() => {});
  await until("it is open", () => chat.state === "open");
  pass(14);
  expect(world.warnings).toHaveLength(2);
  chat.closeSend();
  await reply;
  await all(chat);
  unread.cancel();
});

test("a logger that throws changes no call, and the default logger is the console", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {
    throw new Error("no console");
  });
  await using world = await start({ greeter: atTheEnd });
  const chat = world.greeter.chat();
  await chat.send({});
  const reply = next(chat);
  await until("it is open", () => chat.state === "open");
  pass(12);
  expect(warn).toHaveBeenCalledOnce();
  warn.mockRestore();
  chat.closeSend();
  expect(await reply).toMatchObject({ reply: "1" });
  await all(chat);
});

test("a server's logger that throws changes no call", async () => {
  let warnings = 0;
  await using world = await start({
    server: {
      logger: {
        error() {
          warnings++;
          throw new Error("no log");
        },
      },
    },
    greeter: {
      sayHello({ content }) {
        if (content === "bug") throw new Error("a bug");
        return { reply: content };
      },
    },
  });
  await expect(world.greeter.sayHello({ content: "bug" })).rejects.toThrow("internal error");
  await until("the warning is logged", () => warnings === 1);
  expect((await world.greeter.sayHello({ content: "on" })).reply).toBe("on");
});

test("a timer runs only while a call is watched, and not for a transport that is idle or closed", async () => {
  await using world = await warnedWorld({ greeter: atTheEnd });
  const before = vi.getTimerCount();
  const chat = world.greeter.chat();
  expect(vi.getTimerCount()).toBe(before);
  await chat.send({});
  expect(vi.getTimerCount()).toBe(before + 1);
  chat.closeSend();
  await all(chat);
  expect(vi.getTimerCount()).toBe(before);

  const transport = createTransport({ baseUrl: world.url });
  await transport.close();
  expect(vi.getTimerCount()).toBe(before);
});
