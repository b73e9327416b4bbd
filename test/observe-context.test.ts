/** In which async context the handlers of a server with an observer run. */
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, test } from "vitest";
import type { Interceptor } from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import { until } from "./support/gate.ts";
import { calls } from "./support/observed-calls.ts";
import { next } from "./support/read.ts";
import { serverRecorder } from "./support/recorder.ts";
import { start } from "./support/world.ts";

describe("what `run` of a server's observer sets", () => {
  const als = new AsyncLocalStorage<string>();
  const tick = () => new Promise((resolve) => setImmediate(resolve));

  /** A world whose handlers note what is active at each of their steps, under the name of their method. */
  async function tracedWorld() {
    const seen: [step: string, active: string | undefined][] = [];
    const note = (step: string) => void seen.push([step, als.getStore()]);
    const observe = serverRecorder((call) => ({
      run: (inside) => als.run(`span of ${call.method.name}`, inside),
    }));
    const noting: Interceptor = (next) => (request) => {
      note("interceptor");
      return next(request);
    };
    async function* chat(requests: AsyncIterable<{ content: string }>, context: HandlerContext) {
      note("start");
      context.signal.addEventListener("abort", () => note("abort"));
      try {
        await tick();
        for await (const { content } of requests) {
          note("request");
          yield { reply: content };
          note("after yield");
          await tick();
        }
      } finally {
        note("finally");
        await tick();
        note("end");
      }
    }
    const greeter = {
      async sayHello(_: object, context: HandlerContext) {
        note("start");
        context.signal.addEventListener("abort", () => note("abort"));
        await tick();
        note("end");
        return {};
      },
      async collect(requests: AsyncIterable<{ content: string }>, context: HandlerContext) {
        for await (const _ of chat(requests, context));
        return {};
      },
      async *subscribe() {
        note("start");
        for (const sequence of [1n, 2n]) {
          yield { sequence };
          note("after yield");
        }
      },
      chat,
    };
    return { seen, observe, greeter, noting };
  }

  test.each([
    ["without interceptors", false],
    ["with an interceptor", true],
  ])("is active in all steps of a handler and its listeners, %s", async (_, isIntercepted) => {
    const { seen, observe, greeter, noting } = await tracedWorld();
    const interceptors = isIntercepted ? [noting] : [];
    await using world = await start({
      greeter,
      server: { observe: observe.observer, interceptors },
    });
    for (const [name, [, , call]] of Object.entries(calls)) {
      await call(world);
      await until("it has ended at the server", () => observe.ends.length === 1);
      expect(new Set(seen.map(([, active]) => active)), name).toEqual(new Set([`span of ${name}`]));
      const steps = seen.map(([step]) => step);
      expect(steps.filter((step) => step === "interceptor")).toHaveLength(isIntercepted ? 1 : 0);
      if (name !== "Subscribe") expect(steps).toContain("abort");
      if (name === "Chat") expect(steps.filter((step) => step === "after yield")).toHaveLength(3);
      seen.length = 0;
      observe.ends.length = 0;
    }
  });

  test("is active where a call is cancelled, and not in the next one on the same connection", async () => {
    const { seen, observe, greeter } = await tracedWorld();
    await using world = await start({ greeter, server: { observe: observe.observer } });
    const chat = world.greeter.chat();
    await chat.send({ content: "one" });
    await next(chat);
    chat.cancel();
    await until("the handler has ended", () => seen.some(([step]) => step === "end"));
    for (const step of ["abort", "finally", "end"])
      expect(seen).toContainEqual([step, "span of Chat"]);
    seen.length = 0;
    await world.greeter.sayHello({});
    expect(seen[0]).toEqual(["start", "span of SayHello"]);
  });
});
