import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  Code,
  ConnectError,
  createContextKey,
  createContextValues,
  type Interceptor,
} from "../src/index.ts";
import { gate } from "./support/gate.ts";
import { inPage } from "./support/mode.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start, type World } from "./support/world.ts";

/** Notes what passes it: the call, its messages both ways, and its end. */
function recorder(name: string, notes: string[]): Interceptor {
  return (next) => async (request) => {
    notes.push(`${name} > ${request.method.name}`);
    try {
      const response = await next(request);
      notes.push(`${name} < ${request.method.name}`);
      return response;
    } catch (error) {
      notes.push(`${name} ! ${Code[ConnectError.from(error).code]}`);
      throw error;
    }
  };
}

/** Puts a mark on every text that passes, requests and responses. */
function marker(mark: string): Interceptor {
  type Text = { content?: string; reply?: string };
  const change = (message: object) => {
    const text = message as Text;
    if (text.content !== undefined) text.content += mark;
    if (text.reply !== undefined) text.reply += mark;
    return message;
  };
  async function* changeAll(messages: AsyncIterable<object>) {
    for await (const message of messages) yield change(message);
  }
  return (next) => async (request) => {
    if (!request.stream) {
      change(request.message);
      const response = await next(request);
      if (!response.stream) change(response.message);
      return response;
    }
    const response = await next({
      ...request,
      message: changeAll(request.message),
    } as typeof request);
    if (!response.stream) return response;
    return { ...response, message: changeAll(response.message) } as typeof response;
  };
}

async function callEach({ greeter }: World): Promise<string[]> {
  const replies = [(await greeter.sayHello({ content: "a" })).reply];
  for (const { content } of await all(greeter.subscribe({ count: 1, interval: {} })))
    replies.push(content);
  const chat = greeter.chat();
  await chat.send({ content: "b" });
  replies.push((await next(chat))?.reply ?? "");
  chat.closeSend();
  await all(chat);
  const sink = greeter.collect();
  await sink.send({ content: "c" });
  replies.push(String((await sink.finish()).bytes));
  return replies;
}

test("interceptors are passed in order, the first outermost, on each side and in every kind of call", async () => {
  const notes: string[] = [];
  await using world = await start({
    transport: { interceptors: [recorder("outer", notes), recorder("inner", notes)] },
    server: { interceptors: [recorder("gate", notes), recorder("door", notes)] },
  });
  await callEach(world);
  for (const method of ["SayHello", "Subscribe", "Chat", "Collect"]) {
    const way = notes.filter((note) => note.endsWith(` ${method}`));
    expect(way.filter((note) => note.includes(">"))).toEqual(
      ["outer", "inner", "gate", "door"].map((name) => `${name} > ${method}`),
    );
    expect(way.filter((note) => note.includes("<")).toSorted()).toEqual(
      ["door", "gate", "inner", "outer"].map((name) => `${name} < ${method}`),
    );
  }
});

test.each(["transport", "server"])(
  "interceptors on the %s can change messages both ways",
  async (side) => {
    await using world = await start({ [side]: { interceptors: [marker("!")] } });
    expect(await callEach(world)).toEqual(["Hello, a!!", "Notification 1!", "Received: b!!", "2"]);
  },
);

describe.each(["transport", "server"])("an interceptor on the %s", (side) => {
  test("an interceptor that throws ends the call with its error, and no handler runs", async () => {
    let calls = 0;
    const refuse: Interceptor = () => () => {
      throw new ConnectError("who are you?", Code.Unauthenticated);
    };
    await using world = await start({
      [side]: { interceptors: [refuse] },
      greeter: {
        sayHello() {
          calls++;
          return {};
        },
        async *chat() {
          calls++;
          yield {};
        },
      },
    });
    for (const call of [
      failureOf(world.greeter.sayHello({})),
      failureOf(world.greeter.chat()),
      failureOf(world.greeter.subscribe({})),
      failureOf(world.greeter.collect().finish()),
    ]) {
      expect(await call).toMatchObject({ code: Code.Unauthenticated, rawMessage: "who are you?" });
    }
    expect(calls).toBe(0);
  });

  test("sees the errors of the handler", async () => {
    const notes: string[] = [];
    await using world = await start({
      [side]: { interceptors: [recorder("it", notes)] },
      greeter: {
        sayHello() {
          throw new ConnectError("no such room", Code.NotFound);
        },
      },
    });
    expect((await failureOf(world.greeter.sayHello({}))).code).toBe(Code.NotFound);
    expect(notes).toEqual(["it > SayHello", "it ! NotFound"]);
  });

  test("an interceptor may set headers, and read the headers that the other side set", async () => {
    const seen: (string | null)[] = [];
    const adding: Interceptor = (next) => async (request) => {
      request.header.set("x-added", "before");
      const response = await next(request);
      seen.push(response.header.get("x-answer"));
      response.header.set("x-answer", "changed");
      return response;
    };
    await using world = await start({
      [side]: { interceptors: [adding] },
      greeter: {
        async *chat(_requests, { requestHeader, responseHeader }) {
          responseHeader.set("x-answer", "given");
          yield { reply: requestHeader.get("x-added") ?? "nothing" };
        },
      },
    });
    const chat = world.greeter.chat();
    expect(await next(chat)).toMatchObject({ reply: "before" });
    expect(seen.length).toBe(1);
    if (side === "transport") {
      expect(seen).toEqual(["given"]);
      expect((await chat.headers).get("x-answer")).toBe("changed");
    }
    expect(await all(chat)).toEqual([]);
  });

  test("an interceptor does not change how a call is cancelled, and how its deadline ends it", async () => {
    const finished = gate();
    await using world = await start({
      [side]: { interceptors: [marker("!")] },
      greeter: {
        async *chat(requests) {
          try {
            for await (const { content } of requests) yield { reply: content };
          } finally {
            finished.open();
          }
        },
        async sayHello(_request, { signal }) {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          return {};
        },
      },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "x" });
    for await (const { reply } of chat) {
      expect(reply).toBe("x!!");
      break;
    }
    await finished.opened;
    const late = await failureOf(world.greeter.sayHello({}, { timeoutMs: 100 }));
    expect(late.code).toBe(Code.DeadlineExceeded);
    const idle = await failureOf(world.greeter.chat({ timeoutMs: 100 }));
    expect(idle.code).toBe(Code.DeadlineExceeded);
  });
});

test("context values travel from the caller to its interceptors, and from the server's to the handler", async () => {
  const user = createContextKey("nobody");
  const seen: string[] = [];
  await using world = await start({
    transport: {
      interceptors: [
        (next) => (request) => {
          request.header.set("x-user", request.contextValues.get(user));
          return next(request);
        },
      ],
    },
    server: {
      interceptors: [
        (next) => (request) => {
          request.contextValues.set(user, request.header.get("x-user") ?? "");
          return next(request);
        },
      ],
    },
    greeter: {
      sayHello(_request, { values }) {
        seen.push(values.get(user));
        return {};
      },
    },
  });
  await world.greeter.sayHello({}, { contextValues: createContextValues().set(user, "Ada") });
  await world.greeter.sayHello({});
  expect(seen).toEqual(["Ada", "nobody"]);
});

test("interceptors see service, method, URL and signal of the call", async () => {
  const seen: unknown[] = [];
  const look: Interceptor = (next) => (request) => {
    const { service, method, url, requestMethod, stream, signal } = request;
    seen.push([
      service.typeName,
      method.name,
      new URL(url).pathname,
      requestMethod,
      stream,
      signal.aborted,
    ]);
    return next(request);
  };
  await using world = await start({
    transport: { interceptors: [look] },
    server: { interceptors: [look] },
  });
  await world.greeter.sayHello({});
  const call = ["example.Greeter", "SayHello", "/example.Greeter/SayHello", "POST", false, false];
  expect(seen).toEqual([call, call]);
});

test("an interceptor that reads one request ahead sends each request once", async () => {
  const readAhead: Interceptor = (next) => (request) => {
    if (!request.stream) return next(request);
    const messages = request.message[Symbol.asyncIterator]();
    async function* message() {
      for (let ahead = messages.next(); ; ) {
        const following = messages.next();
        const { done, value } = await ahead;
        if (done === true) return;
        yield value;
        ahead = following;
      }
    }
    return next({ ...request, message: message() });
  };
  await using world = await start({ transport: { interceptors: [readAhead] } });
  const chat = world.greeter.chat();
  const contents = ["one", "two", "three", "four"];
  for (const content of contents) {
    await chat.send({ content });
    expect(await next(chat)).toMatchObject({ reply: `Received: ${content}` });
  }
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
});

// What comes out of a page's transport, and does not pass through a client, stays in the page.
test.skipIf(inPage)(
  "a copy of a transport's response has its message, its headers and its trailers",
  async () => {
    await using world = await start({
      greeter: {
        sayHello(_request, { responseHeader, responseTrailer }) {
          responseHeader.set("x-head", "h");
          responseTrailer.set("x-tail", "t");
          return { reply: "hi" };
        },
      },
    });
    const { sayHello } = Greeter.method;
    const response = await world.transport.unary(sayHello, undefined, undefined, undefined, {});
    const { header, trailer, ...copy } = { ...response };
    expect([header.get("x-head"), trailer.get("x-tail")]).toEqual(["h", "t"]);
    expect(copy).toMatchObject({ stream: false, service: Greeter, message: { reply: "hi" } });
  },
);

test("interceptors get the request of a unary call as it was when the call was made", async () => {
  await using world = await start({ transport: { interceptors: [marker("!")] } });
  const request = { content: "as it was" };
  const answer = world.greeter.sayHello(request);
  request.content = "changed later";
  expect((await answer).reply).toBe("Hello, as it was!!");
});
