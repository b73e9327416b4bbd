/** The option `admit`: a hook that decides, once a call, whether it is served. */
import { createClient as createStockClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { type AdmissionRequest, type Admit, Code, ConnectError } from "../src/server.ts";
import { gate, stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { newId, sessionPeer } from "./support/session-peer.ts";
import { sessionWorld } from "./support/session-world.ts";
import { protocols } from "./support/stock-protocols.ts";
import { message, request, watchedServer } from "./support/watched-server.ts";
import { Http2Code, rst } from "./support/wire.ts";
import { start } from "./support/world.ts";

const ada = { headers: { authorization: "ada" } };

const authenticate = ({ header }: { header: Headers }) => {
  const identity = header.get("authorization");
  if (identity === null) throw new ConnectError("who are you?", Code.Unauthenticated);
  return { identity };
};

/** Admits all calls, and notes them. */
function noting() {
  const asked: AdmissionRequest[] = [];
  const admit: Admit = (call) => void asked.push(call);
  return { asked, admit };
}

const tooMany = new ConnectError("too many calls", Code.ResourceExhausted, {
  "grpc-retry-pushback-ms": "700",
});

const refusing: Record<string, Admit> = {
  immediately: () => {
    throw tooMany;
  },
  later: async () => {
    await new Promise((resolve) => setImmediate(resolve));
    throw tooMany;
  },
};

describe.each(Object.entries(protocols))("%s", (_, to) => {
  test("admit is asked once a call, with the caller that was authenticated, the method and the headers", async () => {
    const { asked, admit } = noting();
    await using world = await start({ server: { authenticate, admit } });
    const stock = createStockClient(Greeter, to(world.url));
    await stock.sayHello({}, { headers: { ...ada.headers, "x-more": "yes" } });
    await all(stock.subscribe({ count: 2 }, ada));
    expect(asked.map(({ caller, method }) => [caller.identity, method.name])).toEqual([
      ["ada", "SayHello"],
      ["ada", "Subscribe"],
    ]);
    expect(asked[0]?.caller.peer.address).toBe("127.0.0.1");
    expect(asked[0]?.header.get("x-more")).toBe("yes");
    await world.server.close();
  });

  test.each(Object.entries(refusing))(
    "a call that it refuses %s gets the error, and no handler runs",
    async (_, admit) => {
      let runs = 0;
      await using world = await start({
        server: { admit },
        greeter: {
          sayHello: () => ({ reply: `${runs++}` }),
          async *subscribe() {
            yield { content: `${runs++}` };
          },
        },
      });
      const stock = createStockClient(Greeter, to(world.url));
      for (const call of [() => stock.sayHello({}), () => all(stock.subscribe({}))]) {
        const error = await failureOf(call());
        expect(error).toMatchObject({ code: Code.ResourceExhausted, rawMessage: "too many calls" });
        expect(error.metadata.get("grpc-retry-pushback-ms")).toBe("700");
      }
      expect(runs).toBe(0);
      expect(world.logged).toEqual([]);
      await world.server.close();
    },
  );

  test("a caller that is not authenticated is refused before admit is asked", async () => {
    const { asked, admit } = noting();
    await using world = await start({ server: { authenticate, admit } });
    const stock = createStockClient(Greeter, to(world.url));
    expect(await failureOf(stock.sayHello({}))).toMatchObject({ code: Code.Unauthenticated });
    expect(asked).toEqual([]);
    await world.server.close();
  });

  test("the client's deadline ends the wait for admit", async () => {
    const open = gate();
    await using world = await start({ server: { admit: () => open.opened } });
    const stock = createStockClient(Greeter, to(world.url));
    const error = await failureOf(stock.sayHello({}, { timeoutMs: 50 }));
    expect(error.code).toBe(Code.DeadlineExceeded);
    await until("no call is open", () => world.server.openCalls === 0);
    open.open();
  });
});

test("an error that is no ConnectError: the caller gets INTERNAL without its text, and the log says it once", async () => {
  const faults: Admit[] = [
    () => {
      throw new TypeError("redis://swordfish is down");
    },
    () => Promise.reject({ msBeforeNext: 5 }),
  ];
  for (const admit of faults) {
    await using world = await start({ server: { admit } });
    for (let n = 0; n < 3; n++) {
      const error = await failureOf(world.greeter.sayHello({}));
      expect(error).toMatchObject({ code: Code.Internal, rawMessage: "internal error" });
    }
    expect(world.logged).toEqual([
      [expect.stringContaining("admit failed"), expect.objectContaining({})],
    ]);
  }
});

describe("a session", () => {
  test("is admitted at its first attachment, and not when it resumes or is cancelled; Negotiate always is", async () => {
    const { asked, admit } = noting();
    await using world = await sessionWorld({ linked: true, server: { admit } });
    const chat = world.greeter.chat(ada);
    await chat.send({ content: "one" });
    await next(chat);
    for (const content of ["two", "three"]) {
      world.link.cut();
      await chat.send({ content });
      expect(await next(chat)).toMatchObject({ reply: content });
    }
    expect(world.asked.length).toBeGreaterThanOrEqual(3);
    expect(asked.map(({ method, caller }) => [method.name, caller.identity])).toEqual([
      ["Chat", "of ada undefined"],
    ]);
    world.link.cut();
    chat.cancel();
    await until("the cancel has come", () => world.asked.some(({ cancel }) => cancel));
    await until("the handler knows it", () => world.runs.every(({ end }) => end !== "running"));
    expect(asked).toHaveLength(1);
  });

  test("that begins with a later attachment is admitted there, and one that cannot begin is not asked for", async () => {
    const { asked, admit } = noting();
    await using world = await sessionWorld({ identify: false, server: { admit } });
    const peer = await world.peer();
    const late = peer.attach(newId(), { attach: 2, opened: true });
    await late.answer();
    expect(asked).toHaveLength(1);
    const unknown = await peer.attach(newId(), { attach: 2 }).ended();
    expect(unknown.status).toBe(Code.Aborted);
    const broken = await peer.attach("no id").ended();
    expect(broken.status).toBe(Code.InvalidArgument);
    expect(asked).toHaveLength(1);
    await peer[Symbol.asyncDispose]();
  });

  test("that is refused ends with the error, and its client makes no call without a session", async () => {
    await using world = await sessionWorld({ server: { admit: refusing.later as Admit } });
    const error = await failureOf(world.greeter.chat());
    expect(error).toMatchObject({ code: Code.ResourceExhausted, rawMessage: "too many calls" });
    expect(world.asked).toHaveLength(1);
    expect(world.runs).toEqual([]);
  });

  test("whose client cancels it before it is admitted never begins", async () => {
    const open = gate();
    let asked = 0;
    const admit = async () => {
      asked++;
      await open.opened;
    };
    await using world = await sessionWorld({ server: { admit } });
    const chat = world.greeter.chat();
    const failed = failureOf(chat);
    await until("it is asked for", () => asked === 1);
    chat.cancel();
    expect((await failed).code).toBe(Code.Canceled);
    await until("the cancel has come", () => world.asked.some(({ cancel }) => cancel));
    open.open();
    await stillAt(() => world.runs.length);
    expect(world.runs).toEqual([]);
  });
});

test("at most a window of the body waits for admit", async () => {
  const open = gate();
  let asked = 0;
  const admit = () => {
    asked++;
    return open.opened;
  };
  await using world = await watchedServer({ admit });
  const peer = await world.dial();
  peer.write(request(1, "Collect"));
  let sent = 0;
  const flooded = (async () => {
    for (; ; sent++) await peer.flow(1, message("x".repeat(2 ** 20)));
  })();
  await until("it is asked for", () => asked === 1);
  await stillAt(() => sent);
  expect(sent).toBe(0);
  peer.write(rst(1, Http2Code.CANCEL));
  await world.idle();
  await peer[Symbol.asyncDispose]();
  await expect(flooded).rejects.toThrow("the connection ended");
  open.open();
});

test("the question whether there are sessions is answered to all", async () => {
  await using world = await sessionWorld({ server: { admit: refusing.immediately as Admit } });
  await using peer = await sessionPeer(Number(new URL(world.url).port));
  expect(peer.terms.epoch).toMatch(/^[0-9a-f]{32}$/);
});
