/** Servers below a path of their host: `baseUrl: "http://host/api"`. */
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../src/index.ts";
import { openPrefixProxy } from "./support/prefix-proxy.ts";
import { all, next } from "./support/read.ts";
import { start } from "./support/world.ts";

/** A client of a server under a path prefix, through a proxy that serves only that path. */
async function below(prefix: string, path: string) {
  const world = await start();
  const proxy = await openPrefixProxy(world.url, prefix);
  const transport = createTransport({ baseUrl: `${proxy.origin}${path}` });
  return {
    world,
    proxy,
    greeter: createClient(Greeter, transport),
    async [Symbol.asyncDispose]() {
      await transport.close();
      await proxy[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

test.each([
  ["a path", "/api", "/api"],
  ["a path with a slash at its end", "/api", "/api/"],
  ["a path of several parts", "/a/b-c", "/a/b-c//"],
])(
  "every request of a transport to %s begins with that path, and its calls have sessions",
  async (...names) => {
    const [, prefix, path] = names;
    await using scene = await below(prefix, path);
    const { greeter, proxy } = scene;
    expect(await greeter.sayHello({ content: "you" })).toMatchObject({ reply: "Hello, you" });
    const chat = greeter.chat();
    await chat.send({ content: "one" });
    expect(await next(chat)).toMatchObject({ reply: "Received: one" });
    expect(chat.resumable).toBe(true);
    // The call continues over a second connection; the cancel of another call is a separate request.
    proxy.cut();
    await chat.send({ content: "two" });
    expect(await next(chat)).toMatchObject({ reply: "Received: two" });
    chat.closeSend();
    expect(await all(chat)).toEqual([]);
    const cancelled = greeter.chat();
    await cancelled.send({ content: "three" });
    await next(cancelled);
    cancelled.cancel();
    await expect.poll(() => scene.world.server.openCalls).toBe(0);
    expect(new Set(proxy.paths)).toEqual(
      new Set([
        `${prefix}/hawser.v1.SessionService/Negotiate`,
        `${prefix}/example.Greeter/SayHello`,
        `${prefix}/example.Greeter/Chat`,
      ]),
    );
  },
);
