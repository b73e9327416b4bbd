/** What an honest client does beside an attack. */
import { RoomService } from "../../../gen/chat/v1/room_pb.js";
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../../../src/index.ts";
import { TcpLink } from "../../../src/testing/link.ts";
import { type CallTimes, callTimes, type HonestCalls } from "../../support/honest.ts";

/** Posts to a room of its own, in which nobody else is. */
export const posts: HonestCalls = (transport) => {
  const rooms = createClient(RoomService, transport);
  const producer = crypto.randomUUID();
  return (n, options) =>
    rooms.post(
      { room: "honest", name: "ada", text: "hello", producer, sequence: BigInt(n) },
      options,
    );
};

/** A chat that is cut and resumed is cut again after this time. */
const CUT_EVERY_MS = 200;

/** A resume that takes longer has failed. */
const PATIENCE_MS = 10_000;

/**
 * A chat in a session whose connection is cut again and again. Resolves after `forMs` with how long it took each time until
 * an echo arrived that was asked for after the cut.
 */
export async function resumes(port: number, forMs: number): Promise<CallTimes> {
  await using link = new TcpLink({ host: "127.0.0.1", port });
  await link.listen({});
  await using transport = createTransport({ baseUrl: link.url, sessions: true });
  const signal = AbortSignal.timeout(forMs + PATIENCE_MS);
  const chat = createClient(Greeter, transport).chat({ signal });
  const replies = chat[Symbol.asyncIterator]();
  const took: number[] = [];
  const errors: unknown[] = [];
  try {
    const until = performance.now() + forMs;
    for (let n = 0; performance.now() < until; n++) {
      const began = performance.now();
      if (n > 0) await link.cut();
      await chat.send({ content: `${n}` });
      const { value } = await replies.next();
      if (!value?.reply.endsWith(` ${n}`)) throw new Error(`${value?.reply} answers ${n}`);
      // The first one opens the session.
      if (n > 0) took.push(performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, CUT_EVERY_MS));
    }
    chat.closeSend();
  } catch (error) {
    errors.push(error);
  }
  chat.cancel();
  return callTimes(took, errors);
}

/** Whether a new client is served a call that has a session. */
export async function opensSession(url: string): Promise<boolean> {
  await using transport = createTransport({ baseUrl: url, sessions: true });
  const chat = createClient(Greeter, transport).chat({ timeoutMs: PATIENCE_MS });
  try {
    await chat.send({ content: "hello" });
    const { done } = await chat[Symbol.asyncIterator]().next();
    return done === false && chat.resumable;
  } catch {
    return false;
  } finally {
    chat.cancel();
  }
}

/** How many messages of an import are in one call. */
const IMPORTED_AT_ONCE = 10_000;

/** Makes that many rooms with one message each. */
export async function makeRooms(url: string, count: number): Promise<void> {
  await using transport = createTransport({ baseUrl: url });
  const rooms = createClient(RoomService, transport);
  for (let from = 0; from < count; from += IMPORTED_AT_ONCE) {
    const call = rooms.import();
    for (let n = from; n < Math.min(from + IMPORTED_AT_ONCE, count); n++) {
      const producer = crypto.randomUUID();
      await call.send({ room: `room ${n}`, name: "ada", text: "first", producer, sequence: 1n });
    }
    await call.finish();
  }
}
