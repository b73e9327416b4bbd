/** Scenarios for every peer's Greeter: deadlines, cancelling. */
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "../../src/index.ts";
import {
  ask,
  echo,
  numbered,
  read,
  rejects,
  type Scenario,
  sameReplies,
  scenario,
  type World,
} from "./world.ts";

async function deadlineCarried({ greeter }: World): Promise<void> {
  const headers = { "x-deadline": "yes" };
  const { reply: leftMs } = await greeter.sayHello({}, { headers, timeoutMs: 30_000 });
  const fits = Number(leftMs) > 25_000 && Number(leftMs) <= 30_001;
  assert(fits, `the handler has ${leftMs} ms left of 30 s`);
  const { reply: none } = await greeter.sayHello({}, { headers });
  assert.equal(none, "none");
}

async function longDeadline({ greeter }: World): Promise<void> {
  const timeoutMs = 100 * 24 * 3600_000;
  const { reply } = await greeter.sayHello({}, { headers: { "x-deadline": "yes" }, timeoutMs });
  // grpc-timeout has eight digits: this does not travel as milliseconds.
  const fits = Number(reply) > timeoutMs - 5_000 && Number(reply) <= timeoutMs + 60_000;
  assert(fits, `the handler has ${reply} ms left of ${timeoutMs}`);
}

/** Runs a call that has a deadline of 300 ms, and expects it to end with that. */
async function onTime(call: () => PromiseLike<unknown>): Promise<void> {
  const start = performance.now();
  await rejects(call(), Code.DeadlineExceeded);
  const tookMs = performance.now() - start;
  assert(tookMs > 290 && tookMs < 1300, `ended after ${tookMs} ms instead of 300`);
}

async function deadlineUnary(world: World): Promise<void> {
  const headers = { "x-hold": "deadline-unary" };
  await onTime(() => world.greeter.sayHello({}, { headers, timeoutMs: 300 }));
  // The client's reset may arrive before the server's timer fires.
  await ask(world, "deadline-unary", "deadline", "canceled");
}

async function deadlineChat(world: World): Promise<void> {
  const replies: string[] = [];
  await onTime(async () => {
    const headers = { "x-hold": "deadline-chat" };
    await using chat = world.greeter.chat({ headers, timeoutMs: 300 });
    await chat.send({ content: "one" });
    for await (const { reply } of chat) replies.push(reply);
  });
  sameReplies(replies, ["one"]);
  await ask(world, "deadline-chat", "deadline", "canceled");
}

async function deadlinePush(world: World): Promise<void> {
  await onTime(async () => {
    const headers = { "x-hold": "deadline-push" };
    const interval = create(DurationSchema, { nanos: 1_000_000 });
    const push = world.greeter.subscribe({ interval }, { headers, timeoutMs: 300 });
    for await (const _ of push);
  });
  await ask(world, "deadline-push", "deadline", "canceled");
}

async function deadlineCollect(world: World): Promise<void> {
  await onTime(async () => {
    await using sink = world.greeter.collect({
      headers: { "x-hold": "deadline-collect" },
      timeoutMs: 300,
    });
    for (;;) {
      await sink.send({ content: "one" });
      await setTimeout(10);
    }
  });
  await ask(world, "deadline-collect", "deadline", "canceled");
}

async function cancelUnary(world: World): Promise<void> {
  const controller = new AbortController();
  const call = world.greeter.sayHello(
    {},
    { headers: { "x-hold": "cancel-unary" }, signal: controller.signal },
  );
  const cancelled = rejects(call, Code.Canceled);
  await ask(world, "cancel-unary begun", "yes");
  controller.abort();
  await cancelled;
  await ask(world, "cancel-unary", "canceled");
}

async function cancelChat(world: World): Promise<void> {
  const chat = world.greeter.chat({ headers: { "x-hold": "cancel-chat" } });
  await chat.send({ content: "one" });
  const replies = chat[Symbol.asyncIterator]();
  await replies.next();
  chat.cancel();
  await rejects(replies.next(), Code.Canceled);
  await rejects(chat.send({ content: "too late" }), Code.Canceled);
  await ask(world, "cancel-chat", "canceled");
}

async function leaveLoop(world: World): Promise<void> {
  const headers = { "x-hold": "leave-loop" };
  const request = { interval: create(DurationSchema, { nanos: 1_000_000 }) };
  for await (const { sequence } of world.greeter.subscribe(request, { headers })) {
    if (sequence === 5n) break;
  }
  await ask(world, "leave-loop", "canceled");
}

async function cancelCollect(world: World): Promise<void> {
  const sink = world.greeter.collect({ headers: { "x-hold": "cancel-collect" } });
  await sink.send({ content: "one" });
  await ask(world, "cancel-collect begun", "yes");
  sink.cancel();
  await rejects(sink.finish(), Code.Canceled);
  await ask(world, "cancel-collect", "canceled");
}

/** 100 calls of each kind that are cancelled in the turn in which they are made. */
async function cancelAtOnce({ greeter }: World): Promise<void> {
  const signal = AbortSignal.abort();
  for (let i = 0; i < 100; i++) {
    const chat = greeter.chat();
    chat.cancel();
    const sink = greeter.collect();
    sink.cancel();
    const push = greeter.subscribe({});
    push.cancel();
    await Promise.all([
      rejects(read(chat), Code.Canceled),
      rejects(sink.finish(), Code.Canceled),
      rejects(push[Symbol.asyncIterator]().next(), Code.Canceled),
      rejects(greeter.sayHello({}, { signal }), Code.Canceled),
    ]);
  }
  await echo(greeter, numbered(3));
}

/** 200 chats, each cancelled after its first reply, while the next one is made. */
async function cancelAfterFirst({ greeter }: World): Promise<void> {
  const one = async () => {
    const chat = greeter.chat();
    const replies = chat[Symbol.asyncIterator]();
    await chat.send({ content: "one" });
    assert.equal((await replies.next()).value?.reply, "Received: one");
    chat.cancel();
    await rejects(replies.next(), Code.Canceled);
  };
  const caller = async () => {
    for (let i = 0; i < 50; i++) await one();
  };
  await Promise.all([caller(), caller(), caller(), caller()]);
  await echo(greeter, numbered(3));
}

export const deadlines: Scenario[] = [
  scenario("deadline is carried", deadlineCarried),
  scenario("deadline of 100 days is carried", longDeadline, "longDeadlines"),
  scenario("deadline of a unary call", deadlineUnary),
  scenario("deadline of a chat that waits for a request", deadlineChat, "earlyCancels"),
  scenario("deadline of a push", deadlinePush),
  scenario("deadline of a client stream", deadlineCollect, "earlyCancels"),
  scenario("cancel a unary call", cancelUnary),
  scenario("cancel a chat", cancelChat, "earlyCancels"),
  scenario("cancel a client stream", cancelCollect, "earlyCancels"),
  scenario("leaving the loop of a push cancels it", leaveLoop),
  scenario("cancel in the turn of the call", cancelAtOnce),
  scenario("200 chats, each cancelled after its first reply", cancelAfterFirst),
];
