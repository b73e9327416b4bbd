/** AsyncLocalStorage: every function that runs for a call on the client runs in the context in which the call was made. */
import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, expect, test } from "vitest";
import { Code, ConnectError, type Interceptor } from "../src/index.ts";
import { gate, until } from "./support/gate.ts";
import { idempotent } from "./support/idempotent.ts";
import { all, next } from "./support/read.ts";
import { roomWorld } from "./support/toy-room.ts";
import { start, type World } from "./support/world.ts";

const als = new AsyncLocalStorage<string>();
const tenants = ["tenant-a", "tenant-b", "tenant-c"];

/** The contexts in which each kind of function ran. */
type Notes = Map<string, Set<string | undefined>>;

function note(notes: Notes, who: string): void {
  const seen = notes.get(who) ?? new Set();
  notes.set(who, seen.add(als.getStore()));
}

/** Requests that note their context: at the beginning, after a wait, after a yield, and at the end. */
async function* requests(notes: Notes, who: string, rest?: Promise<unknown>) {
  try {
    note(notes, `${who} begins`);
    await Promise.resolve();
    note(notes, `${who} waited`);
    yield { content: who };
    note(notes, `${who} was taken`);
    await rest;
    note(notes, `${who} continues`);
    yield { content: "more" };
  } finally {
    note(notes, `${who} ends`);
  }
}

/** Expects that each note of a tenant was made in that tenant's context, and that there are at least `count`. */
function expectOwn(notes: Notes, count: number): void {
  expect(notes.size).toBeGreaterThanOrEqual(count);
  for (const [what, seen] of notes) {
    expect([what, ...seen]).toEqual([what, what.split(" ")[0]]);
  }
}

/** Concurrent chats of all tenants, with every option that a caller can pass to a call. */
async function chats({ greeter }: World, notes: Notes): Promise<void> {
  const calls = tenants.map((tenant) =>
    als.run(tenant, () => {
      const chat = greeter.chat(requests(notes, tenant), {
        onHeader: () => note(notes, `${tenant} onHeader`),
        onTrailer: () => note(notes, `${tenant} onTrailer`),
      });
      chat.onState((state) => note(notes, `${tenant} ${state}`));
      return chat;
    }),
  );
  // Read in another context.
  await als.run("reader", () => Promise.all(calls.map((call) => all(call))));
  expectOwn(notes, tenants.length * 9);
}

describe.each([
  ["with a session", true],
  ["without a session", false],
])("a call that waits, %s", (_, session) => {
  test("a call that waits for the first connection runs in its own context", async () => {
    await using world = await start({ transport: { sessions: session } });
    await chats(world, new Map());
  });

  test("a call that waits for a free stream runs in its own context", async () => {
    await using world = await start({
      transport: { sessions: session },
      server: { maxConcurrentStreams: 1 },
    });
    await chats(world, new Map());
  });

  test("a call that waits for an answer over a slow link runs in its own context", async () => {
    await using world = await start({ transport: { sessions: session }, linked: true });
    await world.greeter.sayHello({});
    world.link.stall("down");
    const running = chats(world, new Map());
    await new Promise((resolve) => setImmediate(resolve));
    world.link.resume();
    await running;
  });

  test("a call that waits for an address that can be reached runs in its own context", async () => {
    await using live = await start();
    await using world = await start({
      transport: { sessions: session, baseUrl: ["http://127.0.0.1:1", live.url] },
    });
    await chats(world, new Map());
  });
});

test("calls on an open connection run in their own contexts", async () => {
  await using world = await start();
  await world.greeter.sayHello({});
  const first = world.greeter.chat();
  first.closeSend();
  await all(first);
  await chats(world, new Map());
});

test("a connection is made in the context of its transport, and not of the first call", async () => {
  const seen: unknown[] = [];
  const onSocket = () => void seen.push(als.getStore());
  subscribe("net.client.socket", onSocket);
  try {
    await using world = await als.run("transport", () => start());
    await als.run("tenant-a", () => world.greeter.sayHello({}));
    expect(seen).toEqual(["transport"]);
  } finally {
    unsubscribe("net.client.socket", onSocket);
  }
});

test("a session that is resumed continues in the context of its call", async () => {
  const notes: Notes = new Map();
  await using world = await start({ linked: true, transport: { sessions: true } });
  const rest = gate();
  const call = als.run("tenant-a", () => {
    const call = world.greeter.chat(requests(notes, "tenant-a", rest.opened));
    call.onState((state) => note(notes, `tenant-a ${state}`));
    return call;
  });
  expect(await next(call)).toMatchObject({ reply: "Received: tenant-a" });
  als.run("tenant-b", () => world.link.cut());
  await until("it resumes", () => call.state === "resuming");
  await als.run("tenant-c", () => world.greeter.sayHello({}));
  await until("it is open", () => call.state === "open");
  als.run("tenant-b", () => rest.open());
  expect(await als.run("reader", () => all(call))).toMatchObject([{ reply: "Received: more" }]);
  expectOwn(notes, 8);
});

describe("a call that is ended from another context", () => {
  const endings: Record<string, (call: { cancel(): void }, world: World) => unknown> = {
    "by cancel()": (call) => call.cancel(),
    "by closing the transport": (_, world) => world.transport.close(),
    "by closing the server": (_, world) => world.server.close({ graceMs: 0 }),
  };

  test.each(Object.entries(endings))(
    "a call that is ended %s while its requests wait for the window runs their finally and its listeners in its own context",
    async (_, end) => {
      const notes: Notes = new Map();
      const handlerEnded = gate();
      await using world = await start({
        greeter: {
          async *chat(_requests, { signal }) {
            await new Promise((resolve) => signal.addEventListener("abort", resolve));
            handlerEnded.open();
            yield* [];
          },
        },
      });
      async function* endless() {
        try {
          for (;;) yield { content: "x".repeat(64 * 1024) };
        } finally {
          note(notes, "tenant-a ends");
        }
      }
      const call = als.run("tenant-a", () => {
        const call = world.greeter.chat(endless());
        call.onState((state) => note(notes, `tenant-a ${state}`));
        return call;
      });
      await until("it is open", () => call.state === "open");
      await als.run("tenant-b", () => end(call, world));
      await expect(als.run("reader", () => all(call))).rejects.toThrow(ConnectError);
      await until("its requests have ended", () => notes.has("tenant-a ends"));
      expectOwn(notes, 3);
      await handlerEnded.opened;
    },
  );
});

test("each attempt of a unary call that is made again runs in the context of the call", async () => {
  const notes: Notes = new Map();
  const { method, service } = idempotent();
  let served = 0;
  await using world = await start({
    server: {
      routes: (router) =>
        router.rpc(method, () => {
          if (++served < 4) throw new ConnectError("not yet", Code.Unavailable);
          return {};
        }),
    },
  });
  const greeter = world.client(service);
  const call = (tenant: string) =>
    als.run(tenant, () =>
      greeter.sayHello(
        {
          get content() {
            note(notes, `${tenant} request`);
            return "";
          },
        },
        {
          onHeader: () => note(notes, `${tenant} onHeader`),
          onTrailer: () => note(notes, `${tenant} onTrailer`),
        },
      ),
    );
  await Promise.all([call("tenant-a"), call("tenant-b")]);
  expect(served).toBe(5);
  expectOwn(notes, 6);
});

test("each attempt of a call that continues from a cursor is made in the context of the call", async () => {
  const notes: Notes = new Map();
  let attempts = 0;
  const interceptor: Interceptor = (next) => async (request) => {
    attempts++;
    note(notes, "tenant-a attempt");
    const response = await next(request);
    if (!response.stream) return response;
    const { message } = response;
    async function* passing() {
      note(notes, "tenant-a passing");
      yield* message;
    }
    return { ...response, message: passing() } as typeof response;
  };
  await using world = await roomWorld({ interceptors: [interceptor] });
  const call = als.run("tenant-a", () => world.watch({ room: "lobby" }));
  call.onState((state) => note(notes, `tenant-a ${state}`));
  await als.run("reader", async () => {
    await next(call);
    world.link.cut();
    await next(call);
  });
  als.run("tenant-b", () => call.cancel());
  expect(attempts).toBe(2);
  expectOwn(notes, 5);
});

describe("client interceptors", () => {
  /** Runs the rest of the call in a context, and wraps both directions in its own generators. */
  function within(context: string, notes: Notes, own: string): Interceptor {
    async function* passing<T>(messages: AsyncIterable<T>, what: string) {
      try {
        for await (const message of messages) {
          note(notes, `${own} ${what}`);
          yield message;
        }
      } finally {
        note(notes, `${own} ${what} ends`);
      }
    }
    return (next) => async (request) => {
      if (!request.stream) return await next(request);
      const message = passing(request.message, "requests");
      const response = await als.run(context, () => next({ ...request, message } as never));
      if (!response.stream) return response;
      return { ...response, message: passing(response.message, "responses") } as typeof response;
    };
  }

  test.each([
    ["a call that waits", true],
    ["a call that does not wait", false],
  ])(
    "client interceptors of %s run in the context in which they were called, and the caller's generator in its own",
    async (_, waits) => {
      const notes: Notes = new Map();
      await using world = await start({
        transport: {
          interceptors: [within("outer", notes, "tenant-a"), within("inner", notes, "outer")],
        },
      });
      if (!waits) await world.greeter.sayHello({});
      const call = als.run("tenant-a", () => world.greeter.chat(requests(notes, "tenant-a")));
      expect(await als.run("reader", () => all(call))).toHaveLength(2);
      await until("all have ended", () => notes.size === 13);
      for (const [what, seen] of notes) {
        const own = what.split(" ")[0] as string;
        // The next interceptor reads the requests, in the context that this one set for that.
        const context = what.includes("requests")
          ? { "tenant-a": "outer", outer: "inner" }[own]
          : own;
        expect([what, ...seen]).toEqual([what, context]);
      }
    },
  );
});
