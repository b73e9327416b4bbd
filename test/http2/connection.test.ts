import { describe, expect, test } from "vitest";
import { byteByByte, bytesOf, Pair, response } from "./support/pair.ts";

describe.each([
  ["whole", undefined],
  ["byte by byte", byteByByte],
] as const)("bytes that are moved %s", (_, split) => {
  test("a call goes there and back: headers, messages both ways, trailers", () => {
    const pair = new Pair(split === undefined ? {} : { split });
    pair.server.onStream = ({ stream }) => {
      stream.sendHeaders(response());
      stream.writeMessage(0, bytesOf("hello"));
      stream.writeMessage(1, bytesOf("again"));
    };
    const call = pair.client.open();
    call.stream.writeMessage(0, bytesOf("hi"));
    call.stream.end();
    pair.move();
    const [served] = pair.server.streams;
    expect(served?.data).toEqual([0, 0, 0, 0, 2, ...bytesOf("hi")]);
    expect(served?.events.at(-1)).toBe("end");
    expect(call.headers).toEqual(response());
    expect(call.data).toEqual([
      0,
      0,
      0,
      0,
      5,
      ...bytesOf("hello"),
      1,
      0,
      0,
      0,
      5,
      ...bytesOf("again"),
    ]);
    served?.stream.end(["grpc-status", "0"]);
    pair.move();
    expect(call.trailers).toEqual(["grpc-status", "0"]);
    expect(call.events.slice(-3)).toEqual(["trailers", "end", "closed: ended 0"]);
    expect(served?.events.at(-1)).toBe("closed: ended 0");
    expect([pair.client.connection.openStreams, pair.server.connection.openStreams]).toEqual([
      0, 0,
    ]);
  });

  test("a reset, a ping, and GOAWAY arrive", () => {
    const pair = new Pair(split === undefined ? {} : { split });
    const call = pair.client.open();
    pair.move();
    call.stream.reset(8);
    let answers = 0;
    pair.server.connection.ping(() => answers++);
    pair.move();
    expect(call.end).toEqual({ by: "reset", code: 8, reason: "", unprocessed: false });
    expect(pair.server.streams[0]?.end).toEqual({
      by: "peer",
      code: 8,
      reason: "",
      unprocessed: false,
    });
    expect(answers).toBe(1);
    pair.server.connection.goaway("bye");
    pair.move();
    expect(pair.client.events.slice(-2)).toEqual(["goaway 0 2147483647 bye", "goaway 0 1 bye"]);
    expect(pair.server.end).toEqual({ by: "closed", code: 0, reason: "" });
    pair.client.connection.endOfInput();
    expect(pair.client.end).toEqual({ by: "goaway", code: 0, reason: "bye" });
    expect(pair.clock.timers).toBe(0);
  });
});

test("300 kB each way pass windows of 65 535 bytes", () => {
  const pair = new Pair();
  const payload = Uint8Array.from({ length: 300_000 }, (_, at) => at % 251);
  pair.server.onStream = ({ stream }) => {
    stream.sendHeaders(response());
    expect(stream.writeMessage(0, payload)).toBe(false);
    stream.end(["grpc-status", "0"]);
  };
  const call = pair.client.open();
  expect(call.stream.write(payload)).toBe(false);
  call.stream.end();
  pair.move();
  const [served] = pair.server.streams;
  expect(served?.data).toEqual([...payload]);
  expect(call.data.slice(5)).toEqual([...payload]);
  expect(call.events).toContain("drain");
  expect(call.end?.by).toBe("ended");
});
