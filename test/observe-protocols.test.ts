/** What the observer of a server is told of the calls of stock clients, in each protocol. */
import { AsyncLocalStorage } from "node:async_hooks";
import { type Client, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, type HandlerContext } from "../src/server.ts";
import { until } from "./support/gate.ts";
import { failureOf } from "./support/read.ts";
import { type ServerRecorder, serverRecorder } from "./support/recorder.ts";
import { protocols } from "./support/stock-protocols.ts";
import { start } from "./support/world.ts";

const als = new AsyncLocalStorage<string>();
const tick = () => new Promise((resolve) => setImmediate(resolve));

/** The name of the protocol in events. */
function protocolOf(name: string): string {
  if (name.startsWith("gRPC-Web")) return "grpc-web";
  return name.startsWith("gRPC") ? "grpc" : "connect";
}

/** A world whose handlers note at each step what `run` has set, and a stock client of it. */
async function stockWorld(transport: (typeof protocols)[string]) {
  const seen: [step: string, active: string | undefined][] = [];
  const note = (step: string) => void seen.push([step, als.getStore()]);
  const observe = serverRecorder(() => ({ run: (inside) => als.run("span", inside) }));
  const world = await start({
    greeter: {
      async sayHello({ content }) {
        note("start");
        await tick();
        note("end");
        if (content === "fail") throw new ConnectError("no", Code.NotFound);
        if (content === "bug") throw new Error("a bug");
        return { reply: content };
      },
      async *subscribe({ count }, { signal }: HandlerContext) {
        signal.addEventListener("abort", () => note("abort"));
        note("start");
        try {
          for (let sequence = 1n; count === 0 || sequence <= count; sequence++) {
            yield { sequence };
            note("after yield");
            await tick();
          }
        } finally {
          note("finally");
        }
      },
    },
    server: { observe: observe.observer },
  });
  return Object.assign(world, {
    seen,
    observe,
    stock: createClient(Greeter, transport(world.url)) as Client<typeof Greeter>,
  });
}

/** Resolves with the end of the only call, and forgets it. */
async function endOf({ ends }: ServerRecorder) {
  await until("the call has ended", () => ends.length === 1);
  return ends.pop()?.end;
}

describe.each(Object.entries(protocols))("%s", (name, transport) => {
  test("a call starts and ends once, in what `run` sets, with its messages", async () => {
    await using world = await stockWorld(transport);
    const { stock, observe, seen } = world;
    await stock.sayHello({ content: "Ada" }, { timeoutMs: 60_000 });
    const unary = await endOf(observe);
    expect(unary).toMatchObject({ error: undefined, resumes: 0 });
    expect([unary?.received.messages, unary?.sent.messages]).toEqual([1, 1]);
    const [called] = observe.of("callStarted");
    expect(called).toMatchObject({ method: Greeter.method.sayHello, protocol: protocolOf(name) });
    expect(called?.caller.peer.address).toBe("127.0.0.1");
    expect(called?.timeoutMs).toBeGreaterThan(50_000);
    const isHawsers = protocolOf(name) === "grpc";
    expect(unary?.sent.bytes).toEqual(isHawsers ? expect.any(Number) : undefined);

    for await (const _ of stock.subscribe({ count: 3 }));
    const streaming = await endOf(observe);
    expect(streaming?.error).toBeUndefined();
    expect([streaming?.received.messages, streaming?.sent.messages]).toEqual([1, 3]);
    expect(seen.filter(([step]) => step === "after yield")).toHaveLength(3);
    expect(new Set(seen.map(([, active]) => active))).toEqual(new Set(["span"]));
  });

  test("a call has the error of its handler, and a bug is told", async () => {
    await using world = await stockWorld(transport);
    const { stock, observe } = world;
    await failureOf(stock.sayHello({ content: "fail" }));
    expect((await endOf(observe))?.error?.code).toBe(Code.NotFound);
    expect(observe.of("handlerFailed")).toEqual([]);
    await failureOf(stock.sayHello({ content: "bug" }));
    expect((await endOf(observe))?.error?.code).toBe(Code.Internal);
    const error = new Error("a bug");
    expect(observe.of("handlerFailed")).toEqual([{ method: Greeter.method.sayHello, error }]);
    expect(world.logged).toEqual([["the handler of /example.Greeter/SayHello failed:", error]]);
    expect(world.server.stats().calls).toMatchObject({
      ...{ started: 2, succeeded: 0, failed: { NOT_FOUND: 1, INTERNAL: 1 } },
    });
  });

  test("a client that leaves a call ends it with CANCELED, and its listeners run in what `run` sets", async () => {
    await using world = await stockWorld(transport);
    const { stock, observe, seen } = world;
    for await (const { sequence } of stock.subscribe({ count: 0 })) if (sequence === 3n) break;
    expect((await endOf(observe))?.error?.code).toBe(Code.Canceled);
    await until("the handler knows", () => seen.some(([step]) => step === "abort"));
    expect(world.server.stats().calls.failed).toEqual({ CANCELED: 1 });
    expect(new Set(seen.map(([, active]) => active))).toEqual(new Set(["span"]));
  });
});
