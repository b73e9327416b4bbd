/** What keeps a process alive, each in a process that does nothing else: Node exits if only unref'd timers are left. */
import { describe, expect, test } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { openLink } from "../src/testing/link.ts";
import { runText } from "./support/child.ts";
import { until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { sessionWorld } from "./support/session-world.ts";
import { toyRoom } from "./support/toy-room.ts";
import { start } from "./support/world.ts";

describe("a server", { timeout: 30_000 }, () => {
  test.each([
    ["keeps listening", true],
    ["stops listening", false],
  ])(
    "a server that closes and %s while it has only a detached session ends with exit code 0",
    async (_, keepListening) => {
      await using child = runText(`
        const server = createServer({
          routes: (router) => router.service(Greeter, {
            async *chat(requests) {
              try {
                for await (const { content } of requests) yield { reply: content };
              } finally {
                console.log("the handler ended");
              }
            },
          }),
        });
        process.once("SIGTERM", async () => {
          await server.close({ graceMs: 300, keepListening: ${keepListening} });
          console.log("closed");
        });
        const { port } = await server.listen({ port: 0 });
        console.log(port);
      `);
      await using link = await openLink({ host: "127.0.0.1", port: Number(await child.line()) });
      await using transport = createTransport({ baseUrl: link.url });
      const chat = createClient(Greeter, transport).chat();
      await chat.send({ content: "x" });
      await next(chat);
      link.refuse();
      link.cut();
      await until("the client has noticed", () => chat.state === "resuming");
      child.kill("SIGTERM");
      expect(await child.line()).toBe("the handler ended");
      expect(await child.line()).toBe("closed");
      expect(await child.exit).toMatchObject({ code: 0 });
      chat.cancel();
      await failureOf(chat);
    },
  );
});

describe("a client", { timeout: 30_000 }, () => {
  test("a client that closes its transport while the cancel of a session cannot be sent exits", async () => {
    await using world = await sessionWorld({ linked: true, sessions: { graceMs: 1_000 } });
    await using child = runText(`
      const transport = createTransport({ baseUrl: "${world.link.url}" });
      const chat = createClient(Greeter, transport).chat();
      await chat.send({ content: "one" });
      const resumes = new Promise((resolve) => {
        chat.onState((state) => state === "resuming" && resolve());
      });
      for await (const { reply } of chat) {
        console.log(reply);
        await resumes;
        break;
      }
      // The first attempts to send the cancel have failed.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await transport.close();
      console.log("closed");
    `);
    expect(await child.line()).toBe("one");
    world.link.refuse();
    world.link.cut();
    expect(await child.line()).toBe("closed");
    expect(await child.exit).toMatchObject({ code: 0 });
    await until("all has ended", () => world.server.openCalls === 0);
  });

  test("a client whose interceptor never answers exits at the call's deadline", async () => {
    await using child = runText(`
      const transport = createTransport({
        baseUrl: "http://127.0.0.1:1",
        interceptors: [() => () => new Promise(() => {})],
      });
      const { sayHello, subscribe } = createClient(Greeter, transport);
      for (const call of [
        () => sayHello({}, { timeoutMs: 100 }),
        async () => { for await (const _ of subscribe({}, { timeoutMs: 100 })); },
      ]) {
        await call().catch((error) => console.log(Code[error.code]));
      }
    `);
    expect(await child.line()).toBe("DeadlineExceeded");
    expect(await child.line()).toBe("DeadlineExceeded");
    expect(await child.exit).toMatchObject({ code: 0 });
  });

  test("a client whose call waits for the next attempt to connect runs until the call ends", async () => {
    await using world = await start({ linked: true });
    world.link.refuse();
    await using child = runText(`
      const transport = createTransport({ baseUrl: "${world.link.url}" });
      const { sayHello } = createClient(Greeter, transport);
      await sayHello({}).catch((error) => console.log(Code[error.code]));
      console.log((await sayHello({ content: "you" })).reply);
    `);
    expect(await child.line()).toBe("Unavailable");
    world.link.accept();
    expect(await child.line()).toBe("Hello, you");
    expect(await child.exit).toMatchObject({ code: 0 });
  });

  test("a client whose unary call waits before it is made again runs until the call ends", async () => {
    let posts = 0;
    await using world = await start({
      server: {
        routes: (router) =>
          router.service(RoomService, {
            post: () => {
              if (posts++ > 0) return {};
              const pushback = { "grpc-retry-pushback-ms": "400" };
              throw new ConnectError("later", Code.Unavailable, pushback);
            },
          }),
      },
    });
    await using child = runText(`
      const transport = createTransport({ baseUrl: "${world.url}" });
      await createClient(RoomService, transport).post({});
      console.log("posted");
    `);
    expect(await child.line()).toBe("posted");
    expect(await child.exit).toMatchObject({ code: 0 });
    expect(posts).toBe(2);
  });

  test("a client whose call that continues from a cursor waits for its server runs until the call ends", async () => {
    const room = toyRoom();
    await using world = await start({
      linked: true,
      server: { routes: (router) => router.service(RoomService, room.service) },
    });
    await using child = runText(`
      const transport = createTransport({ baseUrl: "${world.link.url}" });
      for await (const { event } of createClient(RoomService, transport).watch({ room: "lobby" })) {
        console.log(event.case);
        if (event.case === "message") break;
      }
    `);
    expect(await child.line()).toBe("opened");
    world.link.refuse();
    world.link.cut();
    const before = world.link.accepted;
    await until("it has tried a few times", () => world.link.accepted >= before + 3);
    room.post(1);
    world.link.accept();
    expect(await child.line()).toBe("opened");
    expect(await child.line()).toBe("message");
    expect(await child.exit).toMatchObject({ code: 0 });
    await until("the server has noticed", () => room.open === 0);
  });

  test("a client whose server does not answer Negotiate runs until the call ends", async () => {
    await using world = await start({
      linked: true,
      greeter: {
        // The client sends Negotiate only after this response.
        sayHello: () => {
          world.link.stall("up");
          return {};
        },
        async *chat(requests) {
          for await (const { content } of requests) yield { reply: content };
        },
      },
    });
    await using child = runText(`
      const transport = createTransport({ baseUrl: "${world.link.url}" });
      const { chat, sayHello } = createClient(Greeter, transport);
      await sayHello({});
      const call = chat();
      await call.send({ content: "one" });
      console.log("sent");
      for await (const { reply } of call) {
        console.log(reply);
        break;
      }
    `);
    expect(await child.line()).toBe("sent");
    // A client that nothing keeps running ends within this time, and prints no more.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    world.link.resume("up");
    expect(await child.line()).toBe("one");
    expect(await child.exit).toMatchObject({ code: 0 });
    await until("the server has noticed", () => world.server.openCalls === 0);
  });
});
