/** A connection that is lost, or fails, with streams: they are closed a few at a time, as its owner lets it (`inTurns`). */
import { expect, test } from "vitest";
import { data, frame, Type } from "../support/wire.ts";
import { Alone, bytesOf, headersOf, request, response } from "./support/pair.ts";

/** How many streams each step closes. */
const AT_ONCE = 16;
const STREAMS = 40;

/** A server with many streams, whose steps the test takes. */
function busy({ streams = STREAMS } = {}) {
  let next: (() => boolean) | undefined;
  const server = new Alone({
    inTurns: (step) => {
      next = step;
    },
  });
  for (let n = 0; n < streams; n++) server.receive(headersOf(2 * n + 1, request()));
  return {
    server,
    closed: () => server.streams.filter(({ end }) => end !== undefined).length,
    /** Takes a step. Returns whether it was the last one. */
    step: () => next?.(),
  };
}

test.each([
  ["is lost", "lost 0", (server: Alone) => server.connection.endOfInput()],
  ["fails", "failed 1", (server: Alone) => server.connection.receive(frame(Type.DATA, 0, 0))],
])(
  "a connection that %s closes its streams in the order of their ids, then reports its end",
  (_, end, lose) => {
    const { server, closed, step } = busy();
    const order: number[] = [];
    for (const recorded of server.streams) {
      recorded.onClosed = (streamEnd) => {
        recorded.end = streamEnd;
        order.push(recorded.stream.id);
      };
    }
    lose(server);
    expect([closed(), server.connection.isClosed, server.events]).toEqual([0, true, []]);
    expect([step(), closed(), server.events]).toEqual([false, AT_ONCE, []]);
    expect([step(), closed(), server.connection.openStreams]).toEqual([false, 2 * AT_ONCE, 8]);
    expect([step(), closed(), server.connection.openStreams]).toEqual([true, STREAMS, 0]);
    expect(order).toEqual(Array.from({ length: STREAMS }, (_, n) => 2 * n + 1));
    expect(server.events).toEqual([`closed: ${end}`]);
  },
);

test("a connection with few streams closes them in one step, one without streams needs none, nor does close()", () => {
  const few = busy({ streams: AT_ONCE });
  few.server.connection.endOfInput();
  expect([few.closed(), few.server.events]).toEqual([0, []]);
  expect([few.step(), few.closed(), few.server.events]).toEqual([
    true,
    AT_ONCE,
    ["closed: lost 0"],
  ]);
  const idle = busy({ streams: 0 });
  idle.server.connection.endOfInput();
  expect([idle.step(), idle.server.events]).toEqual([undefined, ["closed: lost 0"]]);
  const many = busy();
  many.server.connection.close(0);
  expect([many.closed(), many.server.events]).toEqual([STREAMS, ["closed: closed 0"]]);
});

test("close() closes those that are left of a connection that is lost, and a later step finds none", () => {
  const { server, closed, step } = busy();
  server.connection.endOfInput();
  step();
  server.connection.close(0);
  expect([closed(), server.events]).toEqual([STREAMS, ["closed: lost 0"]]);
  expect(server.streams.every(({ end }) => end?.by === "connection")).toBe(true);
  while (step() === false);
  expect(server.events).toEqual(["closed: lost 0"]);
});

test("until it is closed a stream receives nothing, its data waits, and nothing is sent", () => {
  const { server, step } = busy();
  const last = server.streams.at(-1);
  last?.stream.sendHeaders(response());
  server.connection.endOfInput();
  step();
  const events = [...(last?.events ?? [])];
  server.connection.receive(data(2 * STREAMS - 1, bytesOf("late")));
  expect(last?.stream.write(bytesOf("late"))).toBe(false);
  server.connection.unblock();
  last?.stream.end();
  expect(last?.stream.waitingBytes).toBe(4);
  expect(last?.events).toEqual(events);
  expect([server.take(), server.connection.hasOutput]).toEqual([[], false]);
  while (step() === false);
  expect(last?.events).toEqual([...events, "closed: connection 0"]);
});
