/** What a page has of a call whose connection is lost, and of one that is not read. */
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../../../src/web.ts";
import type { LossJob, Survived, Tell, Unread, UnreadJob } from "../job.ts";
import { after } from "./load.ts";

/** A chat sends its next message after this time. */
const EVERY_MS = 5;

/** How long a chat sends after it is open again. */
const AFTER_MS = 100;

/** How long a chat may take to be open again. */
const LATEST_MS = 20_000;

/** Makes a chat with a session, tells that its connection may be lost, and counts what arrives until it is open again. */
export async function survive({ url, keepalive }: LossJob, tell: Tell): Promise<Survived> {
  await using transport = createTransport({ baseUrl: url, keepalive });
  const chat = createClient(Greeter, transport).chat();
  const result = { openAt: 0, sent: 0, received: 0, wrong: 0 };
  const isOpen = Promise.withResolvers<void>();
  let isLost = false;
  chat.onState((state) => {
    if (state === "resuming") isLost = true;
    if (state !== "open" || !isLost) return;
    result.openAt = performance.timeOrigin + performance.now();
    isOpen.resolve();
  });
  let isSending = true;
  const send = async () => {
    for (; isSending; result.sent++) {
      await chat.send({ content: `${result.sent}` });
      await after(EVERY_MS);
    }
    chat.closeSend();
  };
  const receive = async () => {
    for await (const { reply } of chat) {
      if (reply !== `Received: ${result.received}`) result.wrong++;
      result.received++;
      if (result.received === 10) tell("ready");
    }
  };
  const late = after(LATEST_MS).then(() => {
    throw new Error("the chat is not open again");
  });
  const loops = Promise.all([send(), receive()]);
  await Promise.race([isOpen.promise, loops, late]);
  await after(AFTER_MS);
  isSending = false;
  await loops;
  return result;
}

/** The pause between the calls beside a push that is not read. */
const CALL_EVERY_MS = 20;

/** Begins a push, reads one message, and makes unary calls on the same connection. */
export async function leaveUnread({ url, size, ms }: UnreadJob): Promise<Unread> {
  await using transport = createTransport({ baseUrl: url, sessions: false });
  const greeter = createClient(Greeter, transport);
  const push = greeter.subscribe({}, { headers: { "bench-size": `${size}` } });
  const messages = push[Symbol.asyncIterator]();
  await messages.next();
  const result = { halfBytes: 0, bytes: 0, calls: 0, slowestMs: 0 };
  const began = performance.now();
  const passed = () => performance.now() - began;
  while (passed() < ms) {
    const from = passed();
    await greeter.sayHello({ content: "beside" });
    result.calls++;
    result.slowestMs = Math.max(result.slowestMs, passed() - from);
    if (passed() < ms / 2) result.halfBytes = transport.stats().unreadBytes;
    await after(CALL_EVERY_MS);
  }
  result.bytes = transport.stats().unreadBytes;
  await messages.return?.();
  return result;
}
