import { expect, it } from "vitest";
import { Code } from "../src/index.ts";
import {
  fakeServer,
  outcomeOf,
  responseHeaders,
  scripted,
  trailers,
} from "./support/fake-server.ts";
import { message } from "./support/watched-server.ts";
import { data, envelope, Http2Code, headers, rst } from "./support/wire.ts";

// Responses of every number of messages, one level above HTTP/2: which of them are good.

const hello = message("hello");

// An empty message is valid for every type.
const empty = envelope(Buffer.alloc(0));

/** More frames than one read of a socket brings. */
const hundreds: string[] = new Array(300).fill("hello");

it.each<[string, (stream: number) => Buffer[]]>([
  ["no response", (s) => [responseHeaders(s), trailers(s)]],
  ["no response, trailers only", (s) => [responseHeaders(s, { "grpc-status": "0" }, true)]],
  ["two responses", (s) => [responseHeaders(s), data(s, empty), data(s, empty), trailers(s)]],
  [
    "one response too many, and no end",
    (s) => [responseHeaders(s), data(s, empty), data(s, empty)],
  ],
])("%s fails a call that has exactly one response", async (_, answer) => {
  await using world = await fakeServer(({ peer, stream }) => peer.write(...answer(stream)));
  expect((await outcomeOf.unary(world)).error).toMatchObject({ code: Code.Unimplemented });
  const sink = world.client.collect(scripted);
  await expect(sink.finish()).rejects.toMatchObject({ code: Code.Unimplemented });
  await world.expectServed();
  await world.idle();
});

it.each<[string, (stream: number) => Buffer[], string[]]>([
  ["trailers only", (s) => [responseHeaders(s, { "grpc-status": "0" }, true)], []],
  ["no message", (s) => [responseHeaders(s), trailers(s)], []],
  [
    "empty messages",
    (s) => [responseHeaders(s), data(s, Buffer.alloc(15)), trailers(s)],
    ["", "", ""],
  ],
  [
    "empty DATA frames",
    (s) => [responseHeaders(s), data(s), data(s, hello), data(s), trailers(s)],
    ["hello"],
  ],
  [
    "DATA frames of one byte",
    (s) => [responseHeaders(s), ...[...hello].map((b) => data(s, Buffer.of(b))), trailers(s)],
    ["hello"],
  ],
  [
    "hundreds of DATA frames",
    (s) => [responseHeaders(s), ...hundreds.map(() => data(s, hello)), trailers(s)],
    hundreds,
  ],
  [
    "hundreds of DATA frames and a reset after the status",
    (s) => [responseHeaders(s), ...hundreds.map(() => data(s, hello)), trailers(s), rst(s, 0)],
    hundreds,
  ],
  [
    "informational headers first",
    (s) => [headers(s, [[":status", "103"]]), responseHeaders(s), data(s, hello), trailers(s)],
    ["hello"],
  ],
  [
    "a reset after the status",
    (s) => [responseHeaders(s), data(s, hello), trailers(s), rst(s, Http2Code.NO_ERROR)],
    ["hello"],
  ],
  [
    "a cancel after the status",
    (s) => [responseHeaders(s), data(s, hello), trailers(s), rst(s, Http2Code.CANCEL)],
    ["hello"],
  ],
])("a response with %s is accepted", async (_, answer, expected) => {
  await using world = await fakeServer(({ peer, stream }) => peer.write(...answer(stream)));
  expect(await outcomeOf.chat(world)).toEqual({ replies: expected, error: undefined });
  await world.idle();
});

it("messages split at every byte boundary arrive", async () => {
  const body = Buffer.concat([hello, message("a second one"), envelope(Buffer.alloc(0))]);
  let at = -1;
  await using world = await fakeServer(async ({ peer, stream }) => {
    at++;
    peer.write(responseHeaders(stream), data(stream, body.subarray(0, at)));
    await peer.ping();
    peer.write(data(stream, body.subarray(at)), trailers(stream));
  });
  for (let n = 0; n <= body.length; n++) {
    const replies = ["hello", "a second one", ""];
    expect([n, await outcomeOf.chat(world)]).toEqual([n, { replies, error: undefined }]);
  }
});
