/** Scenarios for every peer's Greeter: many calls at the same time. */
import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { echo, numbered, type Scenario, scenario, type World } from "./world.ts";

const AT_ONCE = create(DurationSchema);

/** How many calls are made in all, at each number of calls at a time. */
const CALLS = 400;

type Call = (world: World) => Promise<void>;

const kinds: Call[] = [
  async ({ greeter }) => {
    assert.equal((await greeter.sayHello({ content: "you" })).reply, "Hello, you");
  },
  async ({ greeter }) => {
    let sequence = 0n;
    for await (const one of greeter.subscribe({ count: 3, interval: AT_ONCE })) {
      assert.equal(one.sequence, ++sequence);
    }
    assert.equal(sequence, 3n);
  },
  async ({ greeter }) => {
    await using sink = greeter.collect();
    for (const content of ["a", "b"]) await sink.send({ content });
    assert.equal((await sink.finish()).count, 2);
  },
  async ({ greeter }) => {
    await echo(greeter, numbered(3));
  },
];

async function calls(world: World, atOnce: number, kind: (i: number) => Call): Promise<void> {
  let made = 0;
  const caller = async () => {
    while (made < CALLS) await kind(made++)(world);
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
}

/** 1,500 calls of all kinds, made in one turn; 375 of them are chats, which are all open before one of them ends. */
async function allAtOnce(world: World): Promise<void> {
  const each = 375;
  let open = 0;
  const everyChatOpen = Promise.withResolvers<void>();
  const chat: Call = async ({ greeter }) => {
    const chat = greeter.chat();
    const replies = chat[Symbol.asyncIterator]();
    await chat.send({ content: "here" });
    assert.equal((await replies.next()).value?.reply, "Received: here");
    if (++open === each) everyChatOpen.resolve();
    await everyChatOpen.promise;
    chat.closeSend();
    assert.equal((await replies.next()).done, true);
  };
  const made = [...kinds.slice(0, 3), chat].flatMap((kind) =>
    Array.from({ length: each }, () => kind(world)),
  );
  await Promise.all(made);
}

export const crowd: Scenario[] = [
  ...[1, 2, 10, 100].flatMap((atOnce) => [
    scenario(`unary calls, ${atOnce} at a time`, (world) =>
      calls(world, atOnce, () => kinds[0] as Call),
    ),
    scenario(`calls of all kinds, ${atOnce} at a time`, (world) =>
      calls(world, atOnce, (i) => kinds[i % kinds.length] as Call),
    ),
  ]),
  scenario("1,500 calls of all kinds at once", allAtOnce),
];
