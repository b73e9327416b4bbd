/** The option `headers` as a function, of a transport and of a call: when it runs, and what it changes. */
import { createClient as createConnectClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  type CallHeaders,
  Code,
  ConnectError,
  createClient,
  createTransport,
} from "../src/index.ts";
import { noting, tokens } from "./support/call-headers.ts";
import { callsOfEachKind } from "./support/calls-of-each-kind.ts";
import { gate } from "./support/gate.ts";
import { all, failureOf } from "./support/read.ts";
import { sessionHost } from "./support/session-host.ts";
import { start } from "./support/world.ts";

describe.each(Object.entries(callsOfEachKind))("%s", (_, call) => {
  test("a call runs the functions of transport and call once for each call; the headers of the call replace those of the transport", async () => {
    const { greeter, value } = noting();
    const ofTransport = tokens();
    let n = 0;
    await using world = await start({
      greeter,
      transport: {
        headers: async () => ({ ...(await ofTransport()), "x-both": "transport", "x-tenant": "a" }),
      },
    });
    for (let calls = 1; calls <= 3; calls++) {
      await call(world.greeter, { headers: () => [["X-Both", `call ${++n}`]] });
    }
    await call(world.greeter, { headers: { "x-both": "plain" } });
    await call(world.greeter);
    expect(value("authorization")).toEqual([1, 2, 3, 4, 5].map((count) => `token ${count}`));
    expect(value("x-both")).toEqual(["call 1", "call 2", "call 3", "plain", "transport"]);
    expect(value("x-tenant")).toEqual(Array(5).fill("a"));
    expect(n).toBe(3);
  });

  test("a transport sends its plain headers with each call", async () => {
    const { greeter, value } = noting();
    await using world = await start({ greeter, transport: { headers: { "x-tenant": "a" } } });
    await call(world.greeter, { headers: { "x-call": "1" } });
    await call(world.greeter, { headers: { "x-tenant": "b" } });
    expect([value("x-tenant"), value("x-call")]).toEqual([
      ["a", "b"],
      ["1", null],
    ]);
  });

  test.each<[string, CallHeaders, Partial<ConnectError>]>([
    [
      "throws an error",
      () => {
        throw new Error("no token");
      },
      {
        code: Code.Unknown,
        rawMessage: "the function of the option headers failed: no token",
        cause: new Error("no token"),
      },
    ],
    [
      "rejects with an error",
      async () => Promise.reject(new TypeError("fetch failed")),
      { code: Code.Unknown },
    ],
    [
      "rejects with a ConnectError",
      async () => {
        throw new ConnectError("log in again", Code.Unauthenticated);
      },
      { code: Code.Unauthenticated, rawMessage: "log in again" },
    ],
    [
      "returns headers that are not valid",
      () => ({ "not a name": "x" }),
      { code: Code.InvalidArgument },
    ],
  ])("a call fails if a function %s, and sends nothing", async (_, headers, error) => {
    const { greeter, seen } = noting();
    await using world = await start({ greeter });
    expect(await failureOf(call(world.greeter, { headers }))).toMatchObject(error);
    await using transport = createTransport({ baseUrl: world.url, headers });
    expect(await failureOf(call(createClient(Greeter, transport)))).toMatchObject(error);
    expect(seen).toEqual([]);
  });

  test.each(["a deadline", "a cancel", "the transport's end"])(
    "a call ends its wait for a function by %s",
    async (what) => {
      await using world = await start();
      const asked = gate();
      const controller = new AbortController();
      const never = () => {
        asked.open();
        return new Promise<never>(() => {});
      };
      const options = {
        headers: never,
        signal: controller.signal,
        ...(what === "a deadline" ? { timeoutMs: 50 } : {}),
      };
      const ending = failureOf(call(world.greeter, options));
      await asked.opened;
      if (what === "a cancel") controller.abort();
      if (what === "the transport's end") await world.transport.close();
      const { code, rawMessage } = await ending;
      if (what === "a deadline") {
        expect({ code, rawMessage }).toEqual({
          code: Code.DeadlineExceeded,
          rawMessage: "the deadline of 50 ms passed",
        });
      } else expect(code).toBe(Code.Canceled);
    },
  );
});

test("a transport whose headers are not valid is refused", () => {
  const headers = { "not a name": "x" };
  expect(() => createTransport({ baseUrl: "http://127.0.0.1:1", headers })).toThrow(
    expect.objectContaining({ code: Code.InvalidArgument }),
  );
});

test("Connect's own client runs the function of the transport", async () => {
  const { greeter, value } = noting();
  await using world = await start({ greeter, transport: { headers: tokens() } });
  const client = createConnectClient(Greeter, world.transport);
  await client.sayHello({});
  await client.sayHello({}, { headers: { authorization: "my own" } });
  for await (const _ of client.subscribe({})) break;
  expect(value("authorization")).toEqual(["token 1", "my own", "token 3"]);
});

test("the function of a call on a transport that is not Hawser's runs once, within its deadline", async () => {
  const { greeter, value } = noting();
  await using world = await start({ greeter });
  const client = createClient(Greeter, createGrpcTransport({ baseUrl: world.url }));
  const headers = tokens();
  await client.sayHello({}, { headers });
  expect(await all(client.chat({ headers }))).toHaveLength(1);
  expect(value("authorization")).toEqual(["token 1", "token 2"]);
  const never = { headers: () => new Promise<never>(() => {}), timeoutMs: 30 };
  expect(await failureOf(client.sayHello({}, never))).toMatchObject({
    code: Code.DeadlineExceeded,
    rawMessage: "the deadline of 30 ms passed",
  });
  const chat = client.chat({ headers: never.headers });
  chat.cancel();
  expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
});

test("Negotiate has the headers of the transport, and not those of a call", async () => {
  const asked: Record<string, string>[] = [];
  await using host = await sessionHost(() => {}, {
    headers: tokens(),
    negotiation(peer, stream) {
      asked.push({ ...peer.stream(stream).headers });
      peer.socket.destroy();
    },
  });
  const chat = host.client.chat({ headers: { "x-call": "1" } });
  await failureOf(chat);
  expect(asked.length).toBeGreaterThan(0);
  for (const one of asked) {
    expect(one.authorization).toBe("token 1");
    expect(one["x-call"]).toBeUndefined();
  }
});

test.each<[string, unknown]>([
  ["5", 5],
  ["null", null],
  ["a function that returns 5", () => 5],
  ["a function that returns null", () => null],
])(
  "headers that are not valid, %s, fail the call with INVALID_ARGUMENT, and the error names the option",
  async (_, headers) => {
    await using world = await start();
    const call = world.greeter.sayHello({}, { headers: headers as CallHeaders });
    expect(await failureOf(call)).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("headers"),
    });
  },
);

test("a function that throws a value without a text fails its call with a ConnectError", async () => {
  await using world = await start();
  for (const thrown of [Symbol("odd"), Object.create(null), undefined]) {
    const headers = () => {
      throw thrown;
    };
    expect(await failureOf(world.greeter.sayHello({}, { headers }))).toMatchObject({
      code: Code.Unknown,
      rawMessage: expect.stringContaining("the function of the option headers failed"),
    });
  }
});
