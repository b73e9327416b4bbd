/** A handler that answers with a promise of an iterable, by later(). */
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

test("the responses of later() are opened once, when the call begins, and read to their end, over every protocol and through interceptors", async () => {
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

test("the error with which the responses of later() cannot be opened is the status of the call", async () => {
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

test("responses of later() that open after the end of the call are closed immediately, and their error is logged", async () => {
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
  await until("both calls have ended", () => world.server.openCalls === 0);
  opening.open({
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.reject(new Error("no message may be taken")),
      return() {
        if (++left === 2) throw new Error("not so fast");
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
  });
  await until("both are left", () => left === 2);
  await until("the error is logged", () => world.logged.length > 0);
  expect(world.logged).toHaveLength(1);
  expect(String(world.logged[0]?.at(-1))).toContain("not so fast");
});
