/** A handler that answers with an iterable which is not there yet. */
import { createClient as createStockClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, type Interceptor } from "../src/index.ts";
import { ConnectError, later } from "../src/server.ts";
import { gate, until } from "./support/gate.ts";
import { all, failureOf } from "./support/read.ts";
import { start } from "./support/world.ts";

async function* replies(...replies: string[]) {
  for (const reply of replies) yield { reply };
}

test("is opened once, when the call begins, and read to its end, over every protocol and through interceptors", async () => {
  const passing: Interceptor = (next) => (request) => next(request);
  for (const interceptors of [[], [passing]]) {
    let opened = 0;
    await using world = await start({
      greeter: {
        chat: (requests) =>
          later(async () => {
            opened++;
            const first = await requests[Symbol.asyncIterator]().next();
            return replies(first.value.content, "b");
          }),
      },
      server: { interceptors },
    });
    const web = createStockClient(
      Greeter,
      createGrpcWebTransport({ baseUrl: world.url, httpVersion: "2" }),
    );
    const chat = world.greeter.chat();
    await chat.send({ content: "a" });
    expect(await all(chat)).toMatchObject([{ reply: "a" }, { reply: "b" }]);
    const stock = web.chat(
      (async function* () {
        yield { content: "c" };
      })(),
    );
    expect(await all(stock)).toMatchObject([{ reply: "c" }, { reply: "b" }]);
    expect(opened).toBe(2);
  }
});

test("what it cannot be opened for is the status of the call", async () => {
  await using world = await start({
    greeter: {
      subscribe: () =>
        later(async () => {
          throw new ConnectError("not today", Code.FailedPrecondition);
        }),
    },
  });
  const error = await failureOf(world.greeter.subscribe({}));
  expect([error.code, error.rawMessage]).toEqual([Code.FailedPrecondition, "not today"]);
  expect(world.logged).toEqual([]);
});

test("where the call is over before it is there, it is left at once; what it then throws is told", async () => {
  const opening = gate<AsyncIterable<{ content: string }>>();
  let asked = 0;
  let left = 0;
  await using world = await start({
    greeter: {
      subscribe: () =>
        later(() => {
          asked++;
          return opening.opened;
        }),
    },
  });
  const calls = [world.greeter.subscribe({}), world.greeter.subscribe({})];
  await until("both are asked for", () => asked === 2);
  for (const call of calls) {
    call.cancel();
    await failureOf(call);
  }
  await until("both are over", () => world.server.openCalls === 0);
  opening.open({
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.reject(new Error("nobody may ask for this")),
      return() {
        if (++left === 2) throw new Error("not so fast");
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
  });
  await until("both are left", () => left === 2);
  await until("it is told", () => world.logged.length > 0);
  expect(world.logged).toHaveLength(1);
  expect(String(world.logged[0]?.at(-1))).toContain("not so fast");
});
