/** A subscription as a handler's answer. */
import { createClient as createStockClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, type Interceptor } from "../src/index.ts";
import { later, type ServiceImpl } from "../src/server.ts";
import type { SubscribeOptions } from "../src/topics/hub/subscription.ts";
import { gate, until } from "./support/gate.ts";
import { type HubWorld, world as hubWorld, short, TOPIC } from "./support/hub-world.ts";
import { pumped } from "./support/pumped.ts";
import { failureOf } from "./support/read.ts";
import { start } from "./support/world.ts";

let it: HubWorld;
beforeEach(() => {
  it = hubWorld();
});
afterEach(() => it[Symbol.asyncDispose]());

type Options = SubscribeOptions<string, string, { content: string }>;

/** Events as the Greeter's notifications. */
function notifications(signal: AbortSignal, options: Options = {}) {
  const shape: Options["shape"] = (event) => ({ content: `${short(event)}` });
  return it.hub.subscribe(TOPIC, { shape, ...options }, signal);
}

test("a subscription as the responses of a call works in every protocol and through interceptors, and ends when the client leaves", async () => {
  let [begun, ended] = [0, 0];
  const passing: Interceptor = (next) => (request) => next(request);
  for (const interceptors of [[], [passing]]) {
    for (const isLater of [false, true]) {
      const greeter: Partial<ServiceImpl<typeof Greeter>> = {
        subscribe(_, { signal }) {
          begun++;
          const make = () => notifications(signal, { onEnd: () => ended++ });
          return isLater ? later(async () => make()) : make();
        },
      };
      await using world = await start({ greeter, server: { interceptors } });
      const options = { baseUrl: world.url, httpVersion: "2" as const };
      const clients = [
        world.greeter,
        createStockClient(Greeter, createGrpcWebTransport(options)),
        createStockClient(Greeter, createConnectTransport(options)),
        createStockClient(Greeter, createConnectTransport({ ...options, httpVersion: "1.1" })),
      ];
      for (const client of clients) {
        const came: string[] = [];
        const leaving = new AbortController();
        for await (const { content } of client.subscribe({}, { signal: leaving.signal })) {
          came.push(content);
          if (came.length === 1) await it.post(2);
          if (came.length === 3) break;
        }
        // The stock client does not cancel when the loop is left.
        leaving.abort();
        expect(came[0]).toBe("opening");
        expect(came).toHaveLength(3);
        await until("the subscription has ended", () => begun === ended);
      }
    }
  }
  expect(begun).toBe(16);
});

test("a subscription of another call is an error, and the other call continues", async () => {
  let only: AsyncIterable<{ content: string }> | undefined;
  await using world = await start({
    greeter: {
      subscribe(_, { signal }) {
        only ??= notifications(signal);
        return only;
      },
    },
  });
  const first = world.greeter.subscribe({})[Symbol.asyncIterator]();
  expect(await first.next()).toMatchObject({ value: { content: "opening" } });
  expect(await failureOf(world.greeter.subscribe({}))).toMatchObject({ code: Code.Internal });
  expect(String(world.logged[0]?.at(-1))).toContain("can be iterated once");
  await it.post(1);
  expect(await first.next()).toMatchObject({ value: { content: "1" } });
  await first.return?.();
});

test("a subscription whose first event the handler took continues after that event", async () => {
  await using world = await start({
    greeter: {
      subscribe: (_, { signal }) =>
        later(async () => {
          const events = notifications(signal);
          await events[Symbol.asyncIterator]().next();
          await it.post(2);
          return events;
        }),
    },
  });
  const events = world.greeter.subscribe({})[Symbol.asyncIterator]();
  expect(await events.next()).toMatchObject({ value: { content: "1" } });
  expect(await events.next()).toMatchObject({ value: { content: "2" } });
  await events.return?.();
});

test("a subscription that fails while the client's window is full ends with its error when the window opens", async () => {
  const events = gate<{ close(error: unknown): void }>();
  let writing = 0;
  await using world = await start({
    greeter: {
      subscribe(_, { signal }) {
        const large = "x".repeat(60_000);
        const made = notifications(signal, {
          shape(event) {
            writing++;
            return { content: `${short(event)} ${large}` };
          },
        });
        events.open(made);
        return made;
      },
    },
  });
  const call = world.greeter.subscribe({});
  const subscription = await events.opened;
  await until("it is open", () => writing > 0);
  for (let n = 0; n < 100; n++) await it.post(1);
  let last = -1;
  await until("no more is written", () => {
    const same = last === writing;
    last = writing;
    return same && writing < 101;
  });
  subscription.close(new ConnectError("enough", Code.ResourceExhausted));
  const came: string[] = [];
  const error = await (async () => {
    for await (const { content } of call) came.push(content.split(" ")[0] as string);
  })().catch((error: unknown) => error);
  expect(error).toMatchObject({ code: Code.ResourceExhausted, rawMessage: "enough" });
  // None is missing among those that were written.
  expect(came).toEqual([
    "opening",
    ...Array.from({ length: came.length - 1 }, (_, n) => `${n + 1}`),
  ]);
});

test("the subscriptions of a thousand calls have ended when the server has closed", async () => {
  let [begun, ended] = [0, 0];
  await using world = await start({
    greeter: {
      subscribe(_, { signal }) {
        begun++;
        return notifications(signal, { onEnd: () => ended++ });
      },
    },
  });
  const calls = Array.from({ length: 1000 }, () => failureOf(world.greeter.subscribe({})));
  await until("all have begun", () => begun === 1000);
  await it.post(3);
  await world.server.close({ graceMs: 0 });
  for (const { code } of await Promise.all(calls)) expect(code).toBe(Code.Unavailable);
  expect(ended).toBe(1000);
});

test("a pump rejects where its writer cannot end", async () => {
  const events = it.subscribe();
  const pumping = pumped(events, {
    write: () => undefined,
    end() {
      throw new Error("no end");
    },
  });
  await events.placed;
  events.close();
  await expect(pumping.done).rejects.toThrow("no end");
});
