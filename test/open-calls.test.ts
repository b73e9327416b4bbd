/** maxOpenCalls: how many calls a server serves at the same time, and how callers share them. */
import { createClient as createStockClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { Code } from "../src/index.ts";
import { gate, until } from "./support/gate.ts";
import { all, failureOf } from "./support/read.ts";
import { request } from "./support/request.ts";
import { protocols } from "./support/stock-protocols.ts";
import { data, dial, Http2Code } from "./support/wire.ts";
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

test("calls that wait for authenticate count for their client, until they are served or cancelled", async () => {
  const known = gate();
  await using world = await start({
    server: {
      maxOpenCalls: 18,
      authenticate: async ({ header }) => {
        await known.opened;
        return { identity: header.get("x-user") ?? "nobody" };
      },
    },
    transport: { sessions: false },
  });
  const { greeter, server } = world;
  let refused = 0;
  const waiting = (signal: AbortSignal, n: number) =>
    greeter
      .sayHello({}, { signal, headers: { "x-user": `user ${n}` } })
      .catch(({ code }) => code === Code.ResourceExhausted && refused++);
  const fill = async () => {
    refused = 0;
    const controller = new AbortController();
    const calls = Array.from({ length: 30 }, (_, n) => waiting(controller.signal, n));
    await until("all wait or are refused", () => server.openCalls + refused === 30);
    expect(server.openCalls).toBe(15);
    return { controller, calls };
  };
  const { controller } = await fill();
  controller.abort();
  await until("none waits", () => server.openCalls === 0);
  const { calls } = await fill();
  // Its client makes the attachment again: no session is lost.
  await using peer = await dial(Number(new URL(world.url).port));
  const id = "0".repeat(32);
  peer.write(request(1, "Chat", { "hawser-session": id, "hawser-attach": "2" }));
  await until("the attachment waits", () => server.openCalls === 16);
  peer.write(request(3, "Chat", { "hawser-session": id, "hawser-attach": "2" }));
  expect(await peer.reset(3)).toBe(Http2Code.REFUSED_STREAM);
  known.open();
  await Promise.all(calls);
  expect(await greeter.sayHello({})).toBeDefined();
});

test.each(
  Object.keys(protocols).filter((name) => name.includes("HTTP/2") && !name.startsWith("gRPC over")),
)("%s: calls count too, and a refusal says when to come again", async (name) => {
  const { world, call, over, running } = await crowded(1);
  await using _world = world;
  const first = call("ada");
  await until("the call runs", () => running() === 1);
  const to = protocols[name] as NonNullable<(typeof protocols)[string]>;
  const stock = createStockClient(Greeter, to(world.url));
  for (const refused of [() => stock.sayHello({}), () => all(stock.subscribe({}))]) {
    const error = await failureOf(refused());
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.rawMessage).toContain("the server has 1 open calls of 1 (maxOpenCalls)");
    expect(Number(error.metadata.get("grpc-retry-pushback-ms"))).toBeGreaterThanOrEqual(1000);
    const [info] = error.findDetails(RetryInfoSchema);
    expect(info?.retryDelay?.seconds).toBeGreaterThanOrEqual(1n);
  }
  over.open();
  await first;
  expect(await stock.sayHello({})).toMatchObject({ reply: "done" });
});

test("calls of Connect count for the identity of their caller, and its refusal is RESOURCE_EXHAUSTED", async () => {
  const { world, over, running } = await crowded(18);
  await using _world = world;
  const to = protocols["Connect over HTTP/2"] as NonNullable<(typeof protocols)[string]>;
  const stock = createStockClient(Greeter, to(world.url));
  const call = (user: string) => stock.sayHello({}, { headers: { "x-user": user } });
  const greedy = Array.from({ length: 8 }, (_, n) => call(n === 7 ? "ada" : "greedy"));
  await until("they run", () => running() === 8);
  const more = Array.from({ length: 8 }, () => call("greedy"));
  await until("they run too", () => running() === 16);
  // All come from one address, and one connection.
  const refused = await failureOf(call("greedy"));
  expect(refused).toMatchObject({ code: Code.ResourceExhausted });
  over.open();
  await Promise.all([...greedy, ...more]);
  await until("none is open", () => world.server.openCalls === 0);
  const again = Array.from({ length: 15 }, () => call("greedy"));
  expect(await Promise.all(again)).toHaveLength(15);
});

test("a refusal of Connect has HTTP's 429", async () => {
  const { world, call, over, running } = await crowded(1);
  await using _world = world;
  const first = call("ada");
  await until("the call runs", () => running() === 1);
  await using peer = await dial(Number(new URL(world.url).port));
  const content = { "content-type": "application/json", "content-length": "2" };
  peer.write(request(1, "SayHello", content), data(1, Buffer.from("{}"), true));
  const { headers, body } = await peer.ended(1);
  expect(headers?.[":status"]).toBe("429");
  expect(JSON.parse(body.toString())).toMatchObject({
    code: "resource_exhausted",
    details: [{ type: "google.rpc.RetryInfo" }],
  });
  over.open();
  await first;
});
