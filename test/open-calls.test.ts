/** maxOpenCalls: how many calls a server serves at the same time, and how callers share them. */
import { createClient as createStockClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { Code } from "../src/index.ts";
import { gate, until } from "./support/gate.ts";
import { failureOf } from "./support/read.ts";
import { protocols } from "./support/stock-protocols.ts";
import { start } from "./support/world.ts";

/** A server whose calls last until `over` is opened, and whose callers are what they say. */
async function crowded(maxOpenCalls: number) {
  const over = gate();
  let running = 0;
  const world = await start({
    server: {
      maxOpenCalls,
      authenticate: ({ header }) => ({ identity: header.get("x-user") ?? "nobody" }),
    },
    transport: { sessions: false },
    greeter: {
      async sayHello() {
        running++;
        await over.opened;
        return { reply: "done" };
      },
    },
  });
  const call = (user: string) => world.greeter.sayHello({}, { headers: { "x-user": user } });
  return { world, call, over, running: () => running };
}

test("a caller that opens all it can leaves some to others, and is told when to come again", async () => {
  const { world, call, over, running } = await crowded(18);
  await using _world = world;
  const calls: Promise<unknown>[] = [];
  let refused = 0;
  for (let n = 0; n < 30; n++) {
    calls.push(call("greedy").catch(() => refused++));
    await until("the call runs or is refused", () => running() + refused === n + 1);
  }
  expect(running()).toBe(15);
  const error = await failureOf(call("greedy"));
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.rawMessage).toBe(
    "the server has 15 open calls of 18 (maxOpenCalls); 15 of them are this caller's: no more of its own begin now",
  );
  expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBeGreaterThanOrEqual(1n);
  const others = [call("ada"), call("bob")];
  await until("the others run", () => running() === 17);
  over.open();
  expect(await Promise.all(others)).toMatchObject([{ reply: "done" }, { reply: "done" }]);
  await Promise.all(calls);
  expect(await call("greedy")).toMatchObject({ reply: "done" });
});

test("calls of Connect count too, and are refused with HTTP's 429", async () => {
  const { world, call, over, running } = await crowded(1);
  await using _world = world;
  const first = call("ada");
  await until("the call runs", () => running() === 1);
  const to = protocols["Connect over HTTP/2"] as NonNullable<(typeof protocols)[string]>;
  const stock = createStockClient(Greeter, to(world.url));
  expect(await failureOf(stock.sayHello({}))).toMatchObject({ code: Code.Unavailable });
  over.open();
  await first;
  expect(await stock.sayHello({})).toMatchObject({ reply: "done" });
});
