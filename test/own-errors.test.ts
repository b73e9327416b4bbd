import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, type ConnectError, createClient, createTransport } from "../src/index.ts";
import { startWorld, type World } from "../src/testing.ts";
import { gate, stillAt, until } from "./support/gate.ts";
import { failureOf } from "./support/read.ts";

// Callers may change the error that they get, for example its metadata. No other caller may see that.

/** A server whose chats never answer, and a client without sessions. */
function silent(): Promise<World> {
  return startWorld({
    transport: { sessions: false },
    routes: (router) =>
      router.service(Greeter, {
        async *chat(requests) {
          for await (const _ of requests) yield* [];
        },
      }),
  });
}

function expectDistinct(errors: ConnectError[]): void {
  expect(new Set(errors).size).toBe(errors.length);
  expect(new Set(errors.map(({ metadata }) => metadata)).size).toBe(errors.length);
  expect(new Set(errors.map(({ details }) => details)).size).toBe(errors.length);
  expect(new Set(errors.map(({ message }) => message)).size).toBe(1);
}

test("calls that end with their connection get an error each", async () => {
  await using world = await silent();
  const chats = [1, 2, 3].map(() => world.client(Greeter).chat());
  await until("all are open", () => chats.every(({ state }) => state === "open"));
  const failed = chats.map(failureOf);
  world.link.cut();
  expectDistinct(await Promise.all(failed));
});

test("calls that a closed transport ends, and later calls there, get an error each", async () => {
  await using world = await silent();
  const transport = createTransport({ baseUrl: world.server.url, sessions: false });
  const greeter = createClient(Greeter, transport);
  const chats = [1, 2].map(() => greeter.chat());
  await until("all are open", () => chats.every(({ state }) => state === "open"));
  const failed = chats.map(failureOf);
  await transport.close();
  expectDistinct(
    await Promise.all([...failed, failureOf(greeter.chat()), failureOf(greeter.chat())]),
  );
});

test.each([false, true])(
  "calls that wait for a server that cannot be reached get an error each (sessions: %s)",
  async (sessions) => {
    await using transport = createTransport({ baseUrl: "http://127.0.0.1:1", sessions });
    const greeter = createClient(Greeter, transport);
    const failed = [1, 2, 3].map(() => failureOf(greeter.chat()));
    expectDistinct(await Promise.all(failed));
  },
);

/** The error of a send() that waits for capacity when the server ends the call with OK. */
async function errorOfLateSend(compress: boolean): Promise<ConnectError> {
  const stalled = gate();
  await using world = await startWorld({
    transport: { sessions: false },
    routes: (router) =>
      router.service(Greeter, {
        async *chat() {
          yield { reply: "one" };
          await stalled.opened;
        },
      }),
  });
  const chat = world.client(Greeter).chat({ compress });
  const replies = chat[Symbol.asyncIterator]();
  await replies.next();
  let sent = 0;
  const failed = (async () => {
    const content = randomBytes(400_000).toString("hex");
    for (;;) {
      await chat.send({ content });
      sent++;
    }
  })().catch((error) => error as ConnectError);
  await stillAt(() => sent);
  stalled.open();
  await replies.next();
  return await failed;
}

test.each([
  ["as it is", false],
  ["compressed", true],
])(
  "a message that waits to be sent, %s, gets an error of its own when the server ends the call",
  async (_, compress) => {
    const [first, second] = [await errorOfLateSend(compress), await errorOfLateSend(compress)];
    expect(first).toMatchObject({ code: Code.FailedPrecondition });
    expectDistinct([first, second]);
  },
);
