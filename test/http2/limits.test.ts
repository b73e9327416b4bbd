/** How many streams, and which header lists, an engine takes. */

import { expect, test } from "vitest";
import type { Frame } from "../support/frame-splitter.ts";
import { frame, Http2Code, rst, Type } from "../support/wire.ts";
import { Alone, headersOf, request, response } from "./support/pair.ts";

const resets = (frames: readonly Frame[]) =>
  frames
    .filter(({ type }) => type === Type.RST_STREAM)
    .map(({ stream, payload }) => [stream, payload.readUInt32BE()]);

test("a request over maxConcurrentStreams is refused, and the next one is served when there is capacity", () => {
  const server = new Alone({ maxConcurrentStreams: 1 });
  expect(resets(server.receive(headersOf(1, request()), headersOf(3, request())))).toEqual([
    [3, 7],
  ]);
  server.receive(rst(1, 8), headersOf(5, request()));
  expect(server.requests.map(({ stream }) => stream.id)).toEqual([1, 5]);
});

test("a header list over maxHeaderListBytes is answered 431, and the connection lives on", () => {
  const server = new Alone({ maxHeaderListBytes: 1000 });
  const large = request("x-large", "v".repeat(1000));
  const frames = server.receive(headersOf(1, large), headersOf(3, large, true));
  expect(frames.map(({ type, stream, flags }) => [type, stream, flags])).toEqual([
    [Type.HEADERS, 1, 5],
    [Type.RST_STREAM, 1, 0],
    [Type.HEADERS, 3, 5],
  ]);
  server.receive(headersOf(5, request()));
  expect(server.requests.map(({ stream }) => stream.id)).toEqual([5]);
  expect(server.connection.openStreams).toBe(1);
});

test("a listener may answer a request with too many headers itself", () => {
  const server = new Alone({ maxHeaderListBytes: 1000 });
  const seen: (readonly string[])[] = [];
  Object.assign(server, {
    onTooLargeRequest(stream: (typeof server.requests)[number]["stream"], fields: string[]) {
      seen.push(fields);
      stream.sendHeaders(response("grpc-status", "8"), true);
    },
  });
  const frames = server.receive(headersOf(1, request("x-large", "v".repeat(1000))));
  expect(frames.map(({ type }) => type)).toEqual([Type.HEADERS, Type.RST_STREAM]);
  expect(seen[0]?.slice(0, 2)).toEqual([":method", "POST"]);
  expect(server.connection.openStreams).toBe(0);
});

test("a client's call with too many response headers, or trailers, fails", () => {
  const client = new Alone({ role: "client", maxHeaderListBytes: 1000 });
  const large = "v".repeat(1000);
  const [one, two] = [client.open(), client.open()];
  const frames = client.receive(
    headersOf(1, response("x-large", large)),
    headersOf(3, response()),
    headersOf(3, ["x-large", large], true),
  );
  expect(resets(frames.filter(({ stream }) => stream > 0))).toEqual([
    [1, 11],
    [3, 11],
  ]);
  expect(one.end?.reason).toMatch(
    /responses: a header list of \d+ bytes is over maxHeaderListBytes 1000/,
  );
  expect(two.end?.reason).toMatch(/trailers: a header list/);
});

test("a header block that does not end is bounded", () => {
  const server = new Alone();
  server.receive(frame(Type.HEADERS, 0, 1));
  for (let n = 0; n < 30; n++) server.receive(frame(Type.CONTINUATION, 0, 1, Buffer.alloc(16_384)));
  expect(server.end).toMatchObject({ by: "failed", code: Http2Code.ENHANCE_YOUR_CALM });
  expect(server.end?.reason).toMatch(/278528 bytes in 18 frames, and no end/);
});
