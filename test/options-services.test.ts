/** Arguments that are refused: those of createClient(), and what a server registers. */
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient, type Transport } from "../src/index.ts";
import type { ConnectRouter } from "../src/server.ts";
import { refusalOf, routesOf, wrongly } from "./support/refusal.ts";
import { start } from "./support/world.ts";

const unused: Transport = { unary: () => Promise.reject(), stream: () => Promise.reject() };

describe("arguments of createClient", () => {
  test.each<[string, () => unknown]>([
    [
      "createClient: the arguments are swapped: createClient(service, transport) is needed",
      () => createClient(wrongly<typeof Greeter>(unused), wrongly(Greeter)),
    ],
    [
      "createClient: service is missing: a service of the generated code is needed",
      () => createClient(wrongly<typeof Greeter>(undefined), unused),
    ],
    [
      "createClient: transport is missing: what createTransport() gave is needed",
      () => createClient(Greeter, wrongly(undefined)),
    ],
    [
      "createClient: transport is an object: what createTransport() gave",
      () => createClient(Greeter, wrongly({ baseUrl: "http://127.0.0.1:1" })),
    ],
  ])("%s", async (text, run) => {
    expect(await refusalOf(run)).toContain(text);
  });
});

describe("what a server registers", () => {
  test.each<[string, (router: ConnectRouter) => unknown]>([
    [
      "createServer: example.Greeter.SayHello is registered twice, by router.service: leave one",
      (router) => router.service(Greeter, {}).service(Greeter, {}),
    ],
    [
      "createServer: example.Greeter.SayHello is registered by router.service and by router.rpc: leave one",
      (router) => router.service(Greeter, {}).rpc(Greeter.method.sayHello, () => ({})),
    ],
    [
      "createServer: example.Greeter.SayHello is registered twice, by router.rpc",
      (router) =>
        router.rpc(Greeter.method.sayHello, () => ({})).rpc(Greeter.method.sayHello, () => ({})),
    ],
    [
      "createServer: example.Greeter has no method `sayHelo`: did you mean `sayHello`?",
      (router) => router.service(Greeter, wrongly({ sayHelo: () => ({}) })),
    ],
    [
      "createServer: example.Greeter has no method `SayHello`: did you mean `sayHello`?",
      (router) => router.service(Greeter, wrongly({ SayHello: () => ({}) })),
    ],
    [
      "createServer: example.Greeter has no method `close`: there is ",
      (router) =>
        router.service(Greeter, wrongly(Object.assign(Object.create(null), { close() {} }))),
    ],
    [
      "createServer: example.Greeter.SayHello: its handler is an object, and must be a function",
      (router) => router.service(Greeter, wrongly({ sayHello: {} })),
    ],
    [
      "router.service: service is missing: a service of the generated code",
      (router) => router.service(wrongly<typeof Greeter>(undefined), {}),
    ],
    [
      "router.service(example.Greeter): implementation is missing: an object",
      (router) => router.service(Greeter, wrongly(undefined)),
    ],
    [
      "router.rpc: method is an object: a method of the generated code",
      (router) => router.rpc(wrongly<typeof Greeter.method.sayHello>(Greeter), () => ({})),
    ],
    [
      "router.rpc(example.Greeter.SayHello): implementation is missing: a function",
      (router) => router.rpc(Greeter.method.sayHello, wrongly(undefined)),
    ],
    [
      "router.service(example.Greeter): readMaxBytes is 0: a number above 0",
      (router) => router.service(Greeter, {}, { readMaxBytes: 0 }),
    ],
  ])("%s", async (text, routes) => {
    expect(await refusalOf(() => routesOf(routes))).toContain(text);
  });

  test("an implementation may have other functions and fields if it is an instance of a class", async () => {
    class Hello {
      greeting = "Hi";
      shout = () => this.greeting.toUpperCase();
      sayHello() {
        return { reply: this.shout() };
      }
    }
    await using world = await start({ greeter: new Hello() });
    expect((await world.greeter.sayHello({})).reply).toBe("HI");
  });

  test("an implementation may have fields that are not functions if it is a plain object", async () => {
    const greeter = { prefix: "Hi", sayHello: () => ({ reply: "Hi" }) };
    await using world = await start({ greeter });
    expect((await world.greeter.sayHello({})).reply).toBe("Hi");
  });
});
