/** Scenarios for every peer's Greeter: metadata, errors, early ends. */
import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import { MessageResponseSchema } from "../../gen/example/greeter_pb.js";
import { Code, type ConnectError } from "../../src/index.ts";
import { ERROR_INFO, FAILURE_MESSAGE } from "./greeter.ts";
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

const EVERY_BYTE = Uint8Array.from({ length: 256 }, (_, i) => i);
const MEBIBYTE = "x".repeat(1024 * 1024);
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

/** One call of each kind that ends with the given code, unary first. */
function failing({ greeter }: World, code: Code, headers: Headers): PromiseLike<unknown>[] {
  const options = { headers };
  const request = { count: 1, interval: create(DurationSchema) };
  async function* requests() {
    yield { content: "one" };
  }
  headers.set("x-fail", String(code));
  return [
    greeter.sayHello({}, options),
    greeter.collect(requests(), options),
    readAll(greeter.subscribe(request, options)),
    read(greeter.chat(requests(), options)),
  ];
}

async function readAll(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

async function everyCode(world: World): Promise<void> {
  for (let code = Code.Canceled; code <= Code.Unauthenticated; code++) {
    const errors = failing(world, code, new Headers()).map((call) => rejects(call, code));
    for (const error of await Promise.all(errors)) asked(error);
  }
}

async function metadataOfErrors(world: World): Promise<void> {
  const headers = new Headers([["x-trail", "three, four"]]);
  for (const value of [EVERY_BYTE, SECOND]) {
    headers.append("x-trail-bin", encodeBinaryHeader(value));
  }
  const calls = failing(world, Code.Aborted, headers);
  for (const { metadata } of await Promise.all(calls.map((call) => rejects(call, Code.Aborted)))) {
    assert.equal(metadata.get("x-trail"), "three, four");
    assert.deepEqual(binary(metadata, "x-trail-bin"), [EVERY_BYTE, SECOND]);
  }
}

/** The server ends the call while the client still sends messages that are larger than the window. */
async function endsWhileSending({ greeter }: World): Promise<void> {
  await using chat = greeter.chat({ headers: { "x-end-after": "1" } });
  const replies = read(chat);
  await rejects(sendWithoutEnd(chat), Code.FailedPrecondition);
  sameReplies(await replies, [MEBIBYTE]);
  await echo(greeter, numbered(3));
}

async function failsWhileSending({ greeter }: World): Promise<void> {
  const options = { headers: { "x-fail": "9" } };
  await using chat = greeter.chat(options);
  const sending = rejects(sendWithoutEnd(chat), Code.FailedPrecondition);
  asked(await rejects(read(chat), Code.FailedPrecondition));
  asked(await sending);
  await using sink = greeter.collect(options);
  asked(await rejects(sendWithoutEnd(sink), Code.FailedPrecondition));
  asked(await rejects(sink.finish(), Code.FailedPrecondition));
  await echo(greeter, numbered(3));
}

async function sendWithoutEnd(call: {
  send(message: { content: string }): Promise<void>;
}): Promise<void> {
  for (;;) await call.send({ content: MEBIBYTE });
}

export const endings: Scenario[] = [
  scenario("leading and trailing metadata, ascii and binary", metadata),
  scenario("leading metadata before the first message", headersFirst),
  scenario("trailing metadata of an error, ascii and binary", metadataOfErrors),
  scenario("error with details, unary", failUnary),
  scenario("error with details, client streaming", failCollect),
  scenario("error with details after messages, push", failPush),
  scenario("error with details after messages, chat", failChat),
  scenario("every status code, every kind of call", everyCode),
  scenario("server ends while messages of 1 MiB are sent", endsWhileSending),
  scenario("server fails while messages of 1 MiB are sent", failsWhileSending),
];
