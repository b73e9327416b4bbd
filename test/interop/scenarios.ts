/** Scenarios for every peer's Greeter: calls of each kind. */
import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "../../src/index.ts";
import { crowd } from "./crowd.ts";
import { deadlines } from "./deadlines.ts";
import { endings } from "./endings.ts";
import { pauses } from "./pauses.ts";
import { sizes } from "./sizes.ts";
import {
  echo,
  numbered,
  read,
  rejects,
  type Scenario,
  sameReplies,
  scenario,
  type World,
} from "./world.ts";

const AT_ONCE = create(DurationSchema);

async function unary({ greeter }: World): Promise<void> {
  const { reply } = await greeter.sayHello({ content: "TypeScript" });
  assert.equal(reply, "Hello, TypeScript");
}

async function push({ greeter }: World): Promise<void> {
  let sequence = 0n;
  for await (const notification of greeter.subscribe({ count: 50, interval: AT_ONCE })) {
    assert.equal(notification.sequence, ++sequence);
    assert(Math.abs(timestampMs(notification.time!) - Date.now()) < 60_000, "the time is off");
  }
  assert.equal(sequence, 50n);
}

async function collect({ greeter }: World): Promise<void> {
  for (const count of [0, 1, 1000]) {
    await using sink = greeter.collect();
    for (let i = 0; i < count; i++) await sink.send({ content: "grüße" });
    const total = await sink.finish();
    assert.equal(total.count, count);
    assert.equal(total.bytes, 7n * BigInt(count));
  }
}

async function iterables({ greeter }: World): Promise<void> {
  async function* requests() {
    for (const content of numbered(20)) yield { content };
  }
  sameReplies(await read(greeter.chat(requests())), numbered(20));
  assert.equal((await greeter.collect(requests())).count, 20);
}

async function pingPong({ greeter }: World): Promise<void> {
  await using chat = greeter.chat();
  const replies = chat[Symbol.asyncIterator]();
  for (const content of numbered(500)) {
    await chat.send({ content });
    const { value } = await replies.next();
    assert.equal(value?.reply, `Received: ${content}`);
  }
  chat.closeSend();
  assert.deepEqual(await replies.next(), { done: true, value: undefined });
}

async function bulk({ greeter }: World): Promise<void> {
  await echo(greeter, Array<string>(1024).fill("\0".repeat(64 * 1024)));
}

async function unicode({ greeter }: World): Promise<void> {
  const planes = Array.from({ length: 17 }, (_, plane) => {
    let text = "";
    for (let point = plane << 16; point < (plane + 1) << 16; point += 251) {
      if (point < 0xd800 || point > 0xdfff) text += String.fromCodePoint(point);
    }
    return text;
  });
  await echo(greeter, planes);
}

async function empty({ greeter }: World): Promise<void> {
  await echo(greeter, []);
  await echo(greeter, ["", "", ""]);
}

async function late({ greeter }: World): Promise<void> {
  await echo(greeter, numbered(100), { headers: { "x-late": "yes" } });
}

async function serverEndsFirst({ greeter }: World): Promise<void> {
  await using chat = greeter.chat({ headers: { "x-end-after": "3" } });
  const replies = read(chat);
  // Until the end of the call arrives here, what is sent goes nowhere.
  const sending = (async () => {
    for (;;) await chat.send({ content: "again" });
  })();
  await rejects(sending, Code.FailedPrecondition);
  sameReplies(await replies, ["again", "again", "again"]);
  await chat.trailers;
}

async function serverEndsAtOnce({ greeter }: World): Promise<void> {
  await using chat = greeter.chat({ headers: { "x-end-after": "0" } });
  assert.deepEqual(await read(chat), []);
}

async function manyChats({ greeter }: World): Promise<void> {
  const chats = Array.from({ length: 200 }, () => {
    const chat = greeter.chat();
    return { chat, replies: chat[Symbol.asyncIterator]() };
  });
  await Promise.all(
    chats.map(async ({ chat, replies }) => {
      await chat.send({ content: "here" });
      assert.equal((await replies.next()).value?.reply, "Received: here");
    }),
  );
  // All of them are open now.
  await Promise.all(
    chats.map(async ({ chat }) => {
      const replies = read(chat);
      for (const content of numbered(20)) await chat.send({ content });
      chat.closeSend();
      sameReplies(await replies, numbered(20));
    }),
  );
}

/** Runs in this order; the first and the final scenario show whether one connection served them all. */
export function scenarios(): Scenario[] {
  let peer: string | undefined;
  const seenAs = async ({ greeter }: World) => {
    const { reply } = await greeter.sayHello({}, { headers: { "x-peer": "yes" } });
    return reply;
  };
  return [
    scenario("unary", async (world) => {
      peer = await seenAs(world);
      await unary(world);
    }),
    scenario("server push", push),
    scenario("client streaming", collect),
    scenario("chat of 5, another loop receives", async ({ greeter }) => {
      await echo(greeter, numbered(5));
    }),
    scenario("requests from an iterable", iterables),
    scenario("ping-pong of 500", pingPong),
    scenario("10,000 messages while both directions overlap", async ({ greeter }) => {
      await echo(greeter, numbered(10_000));
    }),
    scenario("64 MiB through a chat", bulk),
    scenario("Unicode of every plane", unicode),
    scenario("empty streams both ways", empty),
    scenario("half-close, then replies", late),
    scenario("server ends first", serverEndsFirst),
    scenario("server ends without reading", serverEndsAtOnce),
    scenario("200 chats at the same time", manyChats),
    ...crowd,
    ...endings,
    ...deadlines,
    ...sizes,
    ...pauses,
    scenario(
      "one connection served all of this",
      async (world) => {
        assert.equal(await seenAs(world), peer);
      },
      "oneConnection",
    ),
  ];
}
