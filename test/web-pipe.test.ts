/** The WebSocket of a page as a byte pipe, on a socket that the test moves. */
import { expect, test } from "vitest";
import { webRuntime } from "../src/web/runtime.ts";
import { WebSocketPipe } from "../src/web/web-socket-pipe.ts";
import { until } from "./support/gate.ts";

const KIB = 1024;
const FULL = 1024 * KIB;

/** A socket that holds what it is given until the test says otherwise, and a pipe of it. */
function open() {
  const frames: number[] = [];
  const socket = {
    binaryType: "blob",
    bufferedAmount: 0,
    readyState: WebSocket.OPEN as number,
    closed: 0,
    onmessage: null as ((event: { data: unknown }) => void) | null,
    onclose: null as ((event: { code: number; reason: string }) => void) | null,
    send(bytes: Uint8Array) {
      frames.push(bytes.length);
      socket.bufferedAmount += bytes.length;
    },
    close() {
      socket.readyState = WebSocket.CLOSING;
      socket.closed++;
    },
  };
  const pipe = new WebSocketPipe(socket as unknown as WebSocket);
  const events: (string | number)[] = [];
  pipe.start({
    onReceived: (bytes) => void events.push(bytes[0] as number),
    onWritten: () => void events.push("written"),
    onEnd: (error) => void events.push(error === undefined ? "end" : String(error)),
    onClosed: () => void events.push("closed"),
  });
  const receive = (byte: number) => socket.onmessage?.({ data: Uint8Array.of(byte).buffer });
  return { socket, pipe, events, frames, receive };
}

test("what is written leaves in frames of 64 KiB at most", () => {
  const { pipe, frames, socket } = open();
  expect(pipe.write(new Uint8Array(150 * KIB))).toBe(true);
  expect(frames).toEqual([64 * KIB, 64 * KIB, 22 * KIB]);
  expect(socket.binaryType).toBe("arraybuffer");
});

test("a socket that holds 1 MiB takes no more until it holds half of it", async () => {
  const { pipe, socket, events } = open();
  pipe.write(new Uint8Array(FULL - 1));
  expect(pipe.waitingBytes).toBe(0);
  pipe.write(new Uint8Array(1));
  expect(pipe.waitingBytes).toBe(FULL);
  expect(pipe.waitingBytes).toBeGreaterThanOrEqual(pipe.maxWaitingBytes);
  socket.bufferedAmount = FULL / 2;
  await until("the pipe has noticed", () => events.length > 0);
  expect(events).toEqual(["written"]);
  expect(pipe.waitingBytes).toBe(0);
});

test("a message that arrives is an occasion to look, since timers of hidden tabs are late", () => {
  const { pipe, socket, events, receive } = open();
  pipe.write(new Uint8Array(FULL));
  socket.bufferedAmount = 0;
  receive(1);
  expect(events).toEqual([1, "written"]);
});

test("during a pause what arrives is kept, and delivered in order after it, with the end", async () => {
  const { pipe, socket, events, receive } = open();
  receive(1);
  pipe.pauseReading();
  receive(2);
  pipe.resumeReading();
  receive(3);
  expect(events).toEqual([1]);
  pipe.pauseReading();
  receive(4);
  socket.onclose?.({ code: 1000, reason: "" });
  expect(pipe.bytesRead).toBe(4);
  pipe.resumeReading();
  await until("the end came", () => events.includes("closed"));
  expect(events).toEqual([1, 2, 3, 4, "end", "closed"]);
});

test.each([
  [1000, "", "end"],
  [1001, "", "end"],
  [1005, "", "end"],
  [1006, "", "Error: WebSocket closed with code 1006"],
  [1008, "too_many_pings", "Error: WebSocket closed with code 1008: too_many_pings"],
])(
  "the close code %i with the reason %j is the end that the listener is told",
  (code, reason, end) => {
    const { pipe, socket, events } = open();
    socket.onclose?.({ code, reason });
    expect(events).toEqual([end, "closed"]);
    socket.readyState = WebSocket.CLOSED;
    expect(pipe.write(new Uint8Array(1))).toBe(false);
  },
);

test("a destroyed pipe ends once, without the peer's answer", async () => {
  const { pipe, socket, events, receive } = open();
  pipe.pauseReading();
  receive(1);
  pipe.destroy();
  pipe.destroy();
  await until("it has ended", () => events.includes("closed"));
  receive(2);
  socket.onclose?.({ code: 1006, reason: "" });
  expect(events).toEqual(["end", "closed"]);
  expect(socket.closed).toBeGreaterThan(0);
});

test("text ends the pipe with an error", () => {
  const { socket, events } = open();
  socket.onmessage?.({ data: "hello" });
  expect(events).toEqual(["Error: the server sent text where HTTP/2 is bytes", "closed"]);
  expect(socket.closed).toBe(1);
});

test.each([
  [1, 4 * KIB, true],
  [4 * KIB, 1, true],
  [1, 4 * KIB + 1, false],
  [4 * KIB + 1, 1, false],
])(
  "after a write of %i bytes the answer to a message of %i leaves before the next task: %s",
  async (written, received, isEarly) => {
    const { socket, pipe } = open();
    let isWritten = false;
    pipe.write(new Uint8Array(written));
    socket.onmessage?.({ data: new ArrayBuffer(received) });
    webRuntime.afterMicrotasks(() => {
      isWritten = true;
    });
    for (let n = 0; n < 100; n++) await undefined;
    expect(isWritten).toBe(isEarly);
    await until("it is written", () => isWritten);
  },
);
