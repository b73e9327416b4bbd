/** AsyncLocalStorage: a handler runs from beginning to end in the context that a server interceptor sets. */
import { AsyncLocalStorage } from "node:async_hooks";
import { createClient as createStockClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createTransport, type Interceptor } from "../src/index.ts";
import { type HandlerContext, later, type ServiceImpl } from "../src/server.ts";
import { createHub, memoryLog } from "../src/topics.ts";
import { until } from "./support/gate.ts";
import { start } from "./support/world.ts";

const als = new AsyncLocalStorage<string>();

/** Runs the call in the context that its header x-tenant names. */
const tenancy: Interceptor = (next) => (request) =>
  als.run(request.header.get("x-tenant") ?? "nobody", () => next(request));

/** The contexts that were noted, by call. */
class Notes {
  readonly #seen = new Map<string, (string | undefined)[]>();

  add({ requestHeader }: HandlerContext): void {
    const tenant = requestHeader.get("x-tenant") as string;
    this.#seen.set(tenant, [...this.of(tenant), als.getStore()]);
  }

  /** The contexts that the call of a tenant noted. */
  of(tenant: string): (string | undefined)[] {
    return this.#seen.get(tenant) ?? [];
  }
}

const tick = () => new Promise((resolve) => setImmediate(resolve));

/** Handlers that note their context at the start, after a wait, with each message, after each yield, and at the end. */
function noting(notes: Notes): ServiceImpl<typeof Greeter> {
  async function* chat(requests: AsyncIterable<{ content: string }>, context: HandlerContext) {
    notes.add(context);
    try {
      await tick();
      notes.add(context);
      for await (const { content } of requests) {
        notes.add(context);
        yield { reply: content };
        notes.add(context);
      }
    } finally {
      notes.add(context);
      await tick();
      notes.add(context);
    }
  }
  return {
    async sayHello({ content }, context) {
      notes.add(context);
      await tick();
      notes.add(context);
      return { reply: content };
    },
    chat,
    async collect(requests, context) {
      let count = 0;
      for await (const _ of chat(requests, context)) count++;
      return { count };
    },
    async *subscribe({ count }, context) {
      notes.add(context);
      try {
        for (let sequence = 1n; count === 0 || sequence <= count; sequence++) {
          yield { sequence };
          notes.add(context);
          await tick();
          notes.add(context);
        }
      } finally {
        notes.add(context);
      }
    },
  };
}

const transports: Record<string, (baseUrl: string) => Transport & { close?(): Promise<void> }> = {
  "Hawser, with sessions": (baseUrl) => createTransport({ baseUrl }),
  "Hawser, without": (baseUrl) => createTransport({ baseUrl, sessions: false }),
  "stock gRPC": (baseUrl) => createGrpcTransport({ baseUrl }),
  "stock gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  "stock Connect": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
};

const tenants = ["tenant-a", "tenant-b", "tenant-c"];

async function* contents() {
  for (const content of ["one", "two"]) {
    yield { content };
    await tick();
  }
}

async function readAll(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

/** How many contexts a handler notes that runs to its end. */
const calls: Record<
  string,
  [
    noted: number,
    make: (
      client: ReturnType<typeof createStockClient<typeof Greeter>>,
      options: object,
    ) => Promise<unknown>,
  ]
> = {
  unary: [2, (client, options) => client.sayHello({ content: "a" }, options)],
  "client-streaming": [8, (client, options) => client.collect(contents(), options)],
  "server-streaming": [6, (client, options) => readAll(client.subscribe({ count: 2 }, options))],
  bidirectional: [8, (client, options) => readAll(client.chat(contents(), options))],
};

describe.each(Object.entries(transports))("over %s", (_, transportTo) => {
  test.each(Object.entries(calls))(
    "%s handlers run in the context that an interceptor set",
    async (_, [noted, make]) => {
      const notes = new Notes();
      await using world = await start({
        greeter: noting(notes),
        server: { interceptors: [tenancy] },
      });
      const transport = transportTo(world.url);
      const client = createStockClient(Greeter, transport);
      await Promise.all(tenants.map((tenant) => make(client, { headers: { "x-tenant": tenant } })));
      for (const tenant of tenants) {
        await until("the handler has ended", () => notes.of(tenant).length === noted);
        expect(notes.of(tenant)).toEqual(new Array(noted).fill(tenant));
      }
      await transport.close?.();
    },
  );

  test("handlers run in the context that an interceptor of their route set", async () => {
    const notes = new Notes();
    await using world = await start({
      server: {
        routes: (router) => router.service(Greeter, noting(notes), { interceptors: [tenancy] }),
      },
    });
    const transport = transportTo(world.url);
    const client = createStockClient(Greeter, transport);
    await readAll(client.chat(contents(), { headers: { "x-tenant": "tenant-a" } }));
    expect(notes.of("tenant-a")).toEqual(new Array(8).fill("tenant-a"));
    await transport.close?.();
  });

  test("handlers that are cancelled run in that context to their end", async () => {
    const notes = new Notes();
    await using world = await start({
      greeter: noting(notes),
      server: { interceptors: [tenancy] },
    });
    const transport = transportTo(world.url);
    const client = createStockClient(Greeter, transport);
    for (const tenant of tenants) {
      const cancelling = new AbortController();
      const options = { headers: { "x-tenant": tenant }, signal: cancelling.signal };
      let read = 0;
      const reading = (async () => {
        for await (const _ of client.subscribe({}, options)) if (++read === 3) cancelling.abort();
      })();
      await expect(reading).rejects.toThrow();
      await until("the call has ended on the server", () => world.server.openCalls === 0);
      const ended = notes.of(tenant);
      expect(ended.length).toBeGreaterThan(6);
      expect(new Set(ended)).toEqual(new Set([tenant]));
    }
    await transport.close?.();
  });

  test("a response that a handler opens with later() runs in that context", async () => {
    const notes = new Notes();
    const { chat } = noting(notes);
    await using world = await start({
      greeter: {
        chat: (requests, context) =>
          later(async () => {
            notes.add(context);
            await tick();
            return chat(requests, context);
          }),
      },
      server: { interceptors: [tenancy] },
    });
    const transport = transportTo(world.url);
    const client = createStockClient(Greeter, transport);
    await readAll(client.chat(contents(), { headers: { "x-tenant": "tenant-a" } }));
    expect(notes.of("tenant-a")).toEqual(new Array(9).fill("tenant-a"));
    await transport.close?.();
  });

  test("generators of an interceptor run in the context of the interceptor around it", async () => {
    const seen: string[] = [];
    const inside: Interceptor = (next) => async (request) => {
      if (!request.stream) return await next(request);
      async function* passing<T>(messages: AsyncIterable<T>, what: string) {
        try {
          for await (const message of messages) {
            seen.push(`${what}: ${als.getStore()}`);
            yield message;
          }
        } finally {
          seen.push(`end of ${what}: ${als.getStore()}`);
        }
      }
      const message = passing(request.message, "requests");
      const response = await als.run("inside", () => next({ ...request, message } as never));
      if (!response.stream) return response;
      return { ...response, message: passing(response.message, "responses") } as typeof response;
    };
    const notes = new Notes();
    await using world = await start({
      greeter: noting(notes),
      server: { interceptors: [tenancy, inside] },
    });
    const transport = transportTo(world.url);
    const client = createStockClient(Greeter, transport);
    await readAll(client.chat(contents(), { headers: { "x-tenant": "tenant-a" } }));
    await until("all have ended", () => seen.length === 6);
    expect(notes.of("tenant-a")).toEqual(new Array(8).fill("inside"));
    expect(new Set(seen)).toEqual(
      new Set([
        "requests: inside",
        "end of requests: inside",
        "responses: tenant-a",
        "end of responses: tenant-a",
      ]),
    );
    await transport.close?.();
  });
});

test("functions that a handler passes to its subscription run in the context of its call, and functions that make records in the context of the hub", async () => {
  const log = memoryLog();
  await log.append("room", [{ data: new Uint8Array(1) }]);
  const made: unknown[] = [];
  await using hub = als.run("hub", () =>
    createHub(log, {
      make: ({ data }) => {
        made.push(als.getStore());
        return data.length;
      },
    }),
  );
  const notes = new Notes();
  let ended = 0;
  await using world = await start({
    greeter: {
      subscribe(_request, context) {
        const shape = () => {
          notes.add(context);
          return { sequence: 1n };
        };
        const onEnd = () => {
          notes.add(context);
          ended++;
        };
        return hub.subscribe("room", { shape, onEnd }, context.signal);
      },
    },
    server: { interceptors: [tenancy] },
  });
  const calls = tenants.map((tenant) =>
    world.greeter.subscribe({}, { headers: { "x-tenant": tenant } })[Symbol.asyncIterator](),
  );
  for (const call of calls) await call.next();
  for (let n = 0; n < 2; n++) {
    await als.run("poster", () => log.append("room", [{ data: new Uint8Array(1) }]));
    for (const call of calls) await call.next();
  }
  for (const call of calls) await call.return?.();
  await until("all have ended", () => ended === tenants.length);
  for (const tenant of tenants) expect(notes.of(tenant)).toEqual(new Array(4).fill(tenant));
  expect(made).toEqual(["hub", "hub"]);
  const { signal } = new AbortController();
  const late = als.run("tenant-d", () => hub.subscribe("other", { start: "oldest" }, signal));
  await als.run("poster", () => log.append("other", [{ data: new Uint8Array(1) }]));
  const early = als.run("tenant-d", () => hub.subscribe("room", { start: "oldest" }, signal));
  for (const subscription of [late, early]) {
    for await (const { kind } of subscription) if (kind === "record") break;
  }
  expect(new Set(made)).toEqual(new Set(["hub"]));
  expect(made.length).toBeGreaterThan(2);
});

test("the handler of a session that is resumed stays in its context", async () => {
  const notes = new Notes();
  await using world = await start({
    greeter: noting(notes),
    server: { interceptors: [tenancy] },
    transport: { sessions: true },
    linked: true,
  });
  const chat = world.greeter.chat({ headers: { "x-tenant": "tenant-a" } });
  const replies = chat[Symbol.asyncIterator]();
  await chat.send({ content: "one" });
  await replies.next();
  world.link.cut();
  await chat.send({ content: "two" });
  expect(await replies.next()).toMatchObject({ value: { reply: "two" } });
  chat.closeSend();
  await replies.next();
  expect(notes.of("tenant-a")).toEqual(new Array(8).fill("tenant-a"));
});
