/** Scenarios for every peer's Greeter: metadata, errors, deadlines, cancelling. */
import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import { MessageResponseSchema } from "../../gen/example/greeter_pb.js";
import { Code, type ConnectError } from "../../src/index.ts";
import { ERROR_INFO, FAILURE_MESSAGE } from "./greeter.ts";
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

const EVERY_BYTE = Uint8Array.from({ length: 256 }, (_, i) => i);
const SECOND = new TextEncoder().encode("second");

async function metadata({ greeter }: World): Promise<void> {
  const headers = new Headers([
    ["x-lead", "one"],
    ["x-lead", "two"],
    ["x-trail", "three, four"],
  ]);
  for (const name of ["x-lead-bin", "x-trail-bin"]) {
    headers.append(name, encodeBinaryHeader(EVERY_BYTE));
    headers.append(name, encodeBinaryHeader(SECOND));
  }
  const check = (leading: Headers, trailing: Headers) => {
    assert.equal(leading.get("x-lead"), "one, two");
    assert.equal(trailing.get("x-trail"), "three, four");
    assert.deepEqual(binary(leading, "x-lead-bin"), [EVERY_BYTE, SECOND]);
    assert.deepEqual(binary(trailing, "x-trail-bin"), [EVERY_BYTE, SECOND]);
  };
  let leading = new Headers();
  let trailing = new Headers();
  await greeter.sayHello(
    {},
    {
      headers,
      onHeader: (h) => {
        leading = h;
      },
      onTrailer: (t) => {
        trailing = t;
      },
    },
  );
  check(leading, trailing);
  const chat = await echo(greeter, numbered(3), { headers });
  check(await chat.headers, await chat.trailers);
}

function binary(headers: Headers, name: string): Uint8Array[] {
  const values = headers.get(name)?.split(",") ?? [];
  return values.map((value) => new Uint8Array(decodeBinaryHeader(value.trim())));
}

async function headersFirst({ greeter }: World): Promise<void> {
  await using chat = greeter.chat({ headers: { "x-headers-first": "yes", "x-lead": "early" } });
  assert.equal((await chat.headers).get("x-lead"), "early");
  chat.closeSend();
  assert.deepEqual(await read(chat), []);
}

/** Checks the error that `x-fail` asked for, details included. */
function asked(error: ConnectError): void {
  assert.equal(error.rawMessage, FAILURE_MESSAGE);
  const [info] = error.details;
  assert(info !== undefined && "type" in info, "there is no first detail");
  assert.equal(info.type, ERROR_INFO.type);
  assert.deepEqual(new Uint8Array(info.value), ERROR_INFO.value);
  assert.deepEqual(
    error.findDetails(MessageResponseSchema).map(({ reply }) => reply),
    ["a detail"],
  );
}

async function failUnary({ greeter }: World): Promise<void> {
  for (let code = Code.Canceled; code <= Code.Unauthenticated; code++) {
    asked(await rejects(greeter.sayHello({}, { headers: { "x-fail": String(code) } }), code));
  }
}

async function failCollect({ greeter }: World): Promise<void> {
  await using sink = greeter.collect({ headers: { "x-fail": "9" } });
  asked(await rejects(sink.finish(), Code.FailedPrecondition));
}

async function failPush({ greeter }: World): Promise<void> {
  let count = 0;
  const request = { count: 3, interval: create(DurationSchema) };
  const reading = (async () => {
    for await (const _ of greeter.subscribe(request, { headers: { "x-fail": "5" } })) count++;
  })();
  asked(await rejects(reading, Code.NotFound));
  assert.equal(count, 3);
}

async function failChat({ greeter }: World): Promise<void> {
  await using chat = greeter.chat({ headers: { "x-fail": "10" } });
  await chat.send({ content: "one" });
  const replies: string[] = [];
  const reading = (async () => {
    for await (const { reply } of chat) replies.push(reply);
  })();
  asked(await rejects(reading, Code.Aborted));
  sameReplies(replies, ["one"]);
  asked(await rejects(chat.send({ content: "too late" }), Code.Aborted));
}

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

export const endings: Scenario[] = [
  scenario("leading and trailing metadata, ascii and binary", metadata),
  scenario("leading metadata before the first message", headersFirst),
  scenario("error with details, unary", failUnary),
  scenario("error with details, client streaming", failCollect),
  scenario("error with details after messages, push", failPush),
  scenario("error with details after messages, chat", failChat),
  scenario("deadline is carried", deadlineCarried),
  scenario("deadline of 100 days is carried", longDeadline, "longDeadlines"),
  scenario("deadline of a unary call", deadlineUnary),
  scenario("deadline of a chat that waits for a request", deadlineChat),
  scenario("cancel a unary call", cancelUnary),
  scenario("cancel a chat", cancelChat),
  scenario("leaving the loop of a push cancels it", leaveLoop),
];
