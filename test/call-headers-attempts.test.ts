/** The option `headers` as a function: each attachment and each attempt of a call runs it again. */
import { AsyncLocalStorage } from "node:async_hooks";
import { expect, test } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { type CallHeaders, Code, ConnectError, type Interceptor } from "../src/index.ts";
import type { AuthenticationRequest } from "../src/server.ts";
import { tokens } from "./support/call-headers.ts";
import { fakeServer, responseHeaders } from "./support/fake-server.ts";
import { gate, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { type SessionSetup, sessionWorld } from "./support/session-world.ts";
import { Http2Code, rst } from "./support/wire.ts";
import { start } from "./support/world.ts";

/** A world whose server identifies callers, and whose client has this option `headers`. */
function resumable(
  setup: Pick<SessionSetup, "identify">,
  headers?: CallHeaders,
  interceptors: Interceptor[] = [],
) {
  return sessionWorld({
    linked: true,
    ...setup,
    transport: { interceptors, ...(headers === undefined ? {} : { headers }) },
  });
}

/** Identifies callers by tokens, each of which is valid once; notes the tokens that it received. */
function strict() {
  const seen: string[] = [];
  const identify = ({ header }: AuthenticationRequest) => {
    const token = header.get("authorization") ?? "none";
    if (seen.includes(token)) throw new ConnectError("the token has expired", Code.Unauthenticated);
    seen.push(token);
    return "ada";
  };
  return { seen, identify };
}

test("the function runs in the async context of its own call, for the first attachment and for later ones", async () => {
  const user = new AsyncLocalStorage<string>();
  const seen: (string | null)[] = [];
  await using world = await resumable(
    {
      identify: ({ header }) => {
        seen.push(header.get("x-user"));
        return "one";
      },
    },
    () => ({ "x-user": user.getStore() ?? "nobody" }),
  );
  const chats = ["ada", "bob"].map((name) => user.run(name, () => world.greeter.chat()));
  for (const chat of chats) {
    await chat.send({ content: "one" });
    await next(chat);
  }
  world.link.cut();
  for (const chat of chats) {
    await chat.send({ content: "two" });
    await next(chat);
    chat.cancel();
  }
  await until("both calls have ended", () => world.server.openCalls === 0);
  expect(seen.toSorted()).toEqual([...Array(3).fill("ada"), ...Array(3).fill("bob")]);
});

test.each(["of the transport", "of the call"])(
  "each attachment of a session, and its cancel, has the headers that the function %s returns for it",
  async (whose) => {
    const { seen, identify } = strict();
    const headers = tokens();
    const ofTransport = whose === "of the transport";
    await using world = await resumable({ identify }, ofTransport ? headers : undefined);
    const chat = world.greeter.chat(ofTransport ? {} : { headers });
    for (const content of ["one", "two", "three"]) {
      await chat.send({ content });
      expect(await next(chat)).toMatchObject({ reply: content });
      world.link.cut();
    }
    await until("the session has resumed", () => world.asked.length === 4);
    world.link.stall();
    world.link.cut();
    await until("the client has noticed", () => chat.state === "resuming");
    chat.cancel();
    world.link.resume();
    await until("the handler has ended", () => world.server.openCalls === 0);
    expect(world.asked.at(-1)).toMatchObject({ cancel: true });
    expect(seen).toEqual(seen.map((_, n) => `token ${n + 1}`));
    expect(seen.length).toBeGreaterThan(4);
  },
);

test("a server whose tokens expire ends a chat with plain headers, and not a chat with a function", async () => {
  const { identify } = strict();
  await using world = await resumable({ identify });
  const old = world.greeter.chat({ headers: { authorization: "old" } });
  const fresh = world.greeter.chat({ headers: tokens() });
  for (const chat of [old, fresh]) {
    await chat.send({ content: "one" });
    await next(chat);
  }
  world.link.cut();
  expect(await failureOf(old)).toMatchObject({ code: Code.Unauthenticated });
  await fresh.send({ content: "two" });
  expect(await next(fresh)).toMatchObject({ reply: "two" });
  fresh.closeSend();
  expect(await next(fresh)).toBeUndefined();
});

test("a function that fails with UNAVAILABLE for a later attachment is followed by another attempt", async () => {
  let runs = 0;
  const headers = async () => {
    if (++runs === 2 || runs === 3)
      throw new ConnectError("the issuer is unreachable", Code.Unavailable);
    return { "x-run": `${runs}` };
  };
  await using world = await resumable({}, headers);
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  world.link.cut();
  await chat.send({ content: "two" });
  expect(await next(chat)).toMatchObject({ reply: "two" });
  expect(runs).toBe(4);
  chat.closeSend();
  await next(chat);
});

test("a function that fails with another code for a later attachment ends the call with that code, at both ends", async () => {
  let runs = 0;
  const headers = async () => {
    if (++runs > 1) throw new ConnectError("log in again", Code.Unauthenticated);
    return {};
  };
  await using world = await resumable({}, headers);
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  world.link.cut();
  expect(await failureOf(chat)).toMatchObject({
    code: Code.Unauthenticated,
    rawMessage: "log in again",
  });
  await until("the handler has ended", () => world.runs[0]?.end !== "running");
  expect(world.runs[0]?.end).toMatchObject({ code: Code.Canceled });
});

test("a function that never answers for a later attachment delays neither a cancel nor the loop", async () => {
  let runs = 0;
  const stuck = gate();
  const headers = () => {
    if (++runs === 1) return {};
    stuck.open();
    return new Promise<never>(() => {});
  };
  await using world = await resumable({}, headers);
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  world.link.cut();
  await stuck.opened;
  chat.cancel();
  expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
  // The cancel has the headers that the function returned last.
  await until("the handler has ended", () => world.runs[0]?.end !== "running");
  expect(world.runs[0]?.end).toMatchObject({ code: Code.Canceled });
});

test("a function that never answers does not keep the close of a transport from ending the handler", async () => {
  let runs = 0;
  const headers = () => (++runs === 1 ? {} : new Promise<never>(() => {}));
  await using world = await resumable({}, headers);
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  await world.transport.close();
  expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
  await until("the handler has ended", () => world.runs[0]?.end !== "running");
  expect(world.runs[0]?.end).toMatchObject({ code: Code.Canceled });
});

test("later attachments keep the headers that an interceptor changed, and have new values of the others from the function", async () => {
  const seen: Record<string, string | null>[] = [];
  const names = ["x-fresh", "x-changed", "x-removed", "x-added", "x-static"];
  const identify = ({ header }: AuthenticationRequest) => {
    seen.push(Object.fromEntries(names.map((name) => [name, header.get(name)])));
    return "ada";
  };
  let runs = 0;
  const headers = () => {
    const run = `${++runs}`;
    return { "x-fresh": run, "x-changed": run, "x-removed": run };
  };
  const interceptor: Interceptor = (next) => (request) => {
    request.header.set("x-changed", `${request.header.get("x-changed")} and more`);
    request.header.delete("x-removed");
    request.header.set("x-added", "here");
    return next(request);
  };
  await using world = await resumable({ identify }, headers, [interceptor]);
  const chat = world.greeter.chat({ headers: { "x-static": "same" } });
  await chat.send({ content: "one" });
  await next(chat);
  world.link.cut();
  await chat.send({ content: "two" });
  await next(chat);
  chat.closeSend();
  await next(chat);
  const kept = {
    "x-changed": "1 and more",
    "x-removed": null,
    "x-added": "here",
    "x-static": "same",
  };
  expect(seen).toEqual([
    { "x-fresh": "1", ...kept },
    { "x-fresh": "2", ...kept },
  ]);
});

test("each attempt of a unary call that is made again has the headers that the function returns for it", async () => {
  const seen: (string | null)[] = [];
  await using world = await start({
    server: {
      routes: (router) =>
        router.service(RoomService, {
          post(_request, { requestHeader }) {
            seen.push(requestHeader.get("authorization"));
            if (seen.length < 3) throw new ConnectError("busy", Code.Unavailable);
            return {};
          },
        }),
    },
    transport: { headers: tokens() },
  });
  await world.client(RoomService).post({});
  expect(seen).toEqual(["token 1", "token 2", "token 3"]);
});

test("closing the transport ends the wait for a function before a unary call is made again", async () => {
  const asked = gate();
  let runs = 0;
  const headers = () => {
    if (++runs === 1) return {};
    asked.open();
    return new Promise<never>(() => {});
  };
  await using world = await start({
    server: {
      routes: (router) =>
        router.service(RoomService, {
          post() {
            throw new ConnectError("busy", Code.Unavailable);
          },
        }),
    },
    transport: { headers },
  });
  const post = failureOf(world.client(RoomService).post({}));
  await asked.opened;
  await world.transport.close();
  expect(await post).toMatchObject({ code: Code.Canceled });
});

test("each attempt of a call that continues from a cursor has the headers that the function returns for it", async () => {
  const seen: (string | null)[] = [];
  await using world = await start({
    server: {
      routes: (router) =>
        router.service(RoomService, {
          async *watch({ after }, { requestHeader }) {
            seen.push(`${requestHeader.get("authorization")} after ${after}`);
            yield { cursor: `${seen.length}` };
            if (seen.length < 3) throw new ConnectError("moving", Code.Unavailable);
          },
        }),
    },
  });
  const watching = world.client(RoomService).watch({}, { headers: tokens() });
  expect(await all(watching)).toHaveLength(3);
  expect(seen).toEqual(["token 1 after ", "token 2 after 1", "token 3 after 2"]);
});

test("the attempt after one that the server refused has the headers that the function returns for it", async () => {
  const headers = tokens();
  await using server = await fakeServer(({ peer, stream }) => {
    if (server.calls.length === 1) peer.write(rst(stream, Http2Code.REFUSED_STREAM));
    else peer.write(responseHeaders(stream, { "grpc-status": "5" }, true));
  });
  const call = server.client.sayHello(
    {},
    { headers: async () => ({ "x-case": "1", ...(await headers()) }) },
  );
  expect(await failureOf(call)).toMatchObject({ code: Code.NotFound });
  const sent = server.calls.map(({ request }) => request.headers?.authorization);
  expect(sent).toEqual(["token 1", "token 2"]);
});
