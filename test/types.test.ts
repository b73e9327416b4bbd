import type { DescService, MessageInitShape as StockInitShape } from "@bufbuild/protobuf";
import type { Client as StockClient, Transport as StockTransport } from "@connectrpc/connect";
import { expectTypeOf, test } from "vitest";
import type {
  JoinResponseSchema,
  RoomService,
  WatchResponseSchema,
} from "../gen/chat/v1/room_pb.js";
import {
  type CollectResponse,
  Greeter,
  type MessageRequest,
  type MessageRequestSchema,
  type MessageResponse,
  type Notification,
} from "../gen/example/greeter_pb.js";
import {
  type CallHeaders,
  type CallOptions,
  type Client,
  type ClosableTransport,
  createClient,
  createTransport,
  type Duplex,
  type MessageInitShape,
  type ServerStream,
  type Sink,
  type Transport,
} from "../src/index.ts";
import {
  createServer,
  duplex,
  type HandlerContext,
  type Server,
  type MessageInitShape as ServerInitShape,
  type ServiceImpl,
  sendHeaders,
} from "../src/server.ts";
import type { Hub, HubEvent, Subscription } from "../src/topics.ts";

// What stands in these functions is compiled (`npm run types`) and never run.

declare const greeter: Client<typeof Greeter>;

type Request = MessageInitShape<typeof MessageRequestSchema>;

test("a method's kind decides the type of its call", () => {
  () => {
    expectTypeOf(greeter.sayHello({ content: "" })).toEqualTypeOf<Promise<MessageResponse>>();
    expectTypeOf(greeter.subscribe({})).toEqualTypeOf<ServerStream<Notification>>();
    expectTypeOf(greeter.collect()).toEqualTypeOf<Sink<Request, CollectResponse>>();
    expectTypeOf(greeter.collect({})).toEqualTypeOf<Sink<Request, CollectResponse>>();
    expectTypeOf(greeter.chat()).toEqualTypeOf<Duplex<Request, MessageResponse>>();
    expectTypeOf(greeter.chat({ timeoutMs: 1 })).toEqualTypeOf<Duplex<Request, MessageResponse>>();
    expectTypeOf(greeter.collect().finish()).toEqualTypeOf<Promise<CollectResponse>>();
    expectTypeOf(greeter.chat().send({})).toEqualTypeOf<Promise<void>>();
    expectTypeOf(greeter.chat().headers).toEqualTypeOf<Promise<Headers>>();
    expectTypeOf(greeter.chat().trailers).toEqualTypeOf<Promise<Headers>>();
    expectTypeOf(greeter.chat().state).toEqualTypeOf<
      "connecting" | "open" | "resuming" | "closed"
    >();
  };
});

test("a call with an iterable of requests has its type in Connect", () => {
  async function* requests() {
    yield { content: "" };
  }
  () => {
    expectTypeOf(greeter.collect(requests())).toEqualTypeOf<Promise<CollectResponse>>();
    expectTypeOf(greeter.chat(requests())).toEqualTypeOf<ServerStream<MessageResponse>>();
    expectTypeOf(greeter.chat(requests(), { timeoutMs: 1 })).toEqualTypeOf<
      ServerStream<MessageResponse>
    >();
  };
});

test("a loop over replies gets replies", () => {
  async () => {
    for await (const message of greeter.chat()) {
      expectTypeOf(message).toEqualTypeOf<MessageResponse>();
      expectTypeOf(message.reply).toEqualTypeOf<string>();
      // @ts-expect-error a reply has no content
      message.content;
    }
    for await (const { sequence } of greeter.subscribe({})) {
      expectTypeOf(sequence).toEqualTypeOf<bigint>();
    }
  };
});

test("a wrong method, field, type or message does not compile", () => {
  () => {
    // @ts-expect-error no such method
    greeter.shout({});
    // @ts-expect-error no such field
    greeter.sayHello({ text: "" });
    // @ts-expect-error a string, not a number
    greeter.sayHello({ content: 7 });
    // @ts-expect-error a message, not a string
    greeter.sayHello("x");
    // @ts-expect-error a request is needed
    greeter.sayHello();
    // @ts-expect-error no such field
    greeter.chat().send({ reply: "" });
    // @ts-expect-error one message a send
    greeter.chat().send([{ content: "" }]);
    // @ts-expect-error no such option
    greeter.chat({ timeout: 1 });
    // @ts-expect-error milliseconds, as a number
    greeter.sayHello({}, { timeoutMs: "1s" });
    // @ts-expect-error a message of another type
    greeter.sayHello({} as CollectResponse);
    // @ts-expect-error an iterable of another message
    greeter.chat((async function* () {})() as AsyncIterable<CollectResponse>);
    // @ts-expect-error a whole iterable takes the place of send
    greeter.chat((async function* (): AsyncGenerator<Request> {})()).send({});
  };
});

test("members of one kind of call are not on the others", () => {
  () => {
    // @ts-expect-error a push takes no requests
    greeter.subscribe({}).send({});
    // @ts-expect-error a sink is not an iterable
    greeter.collect()[Symbol.asyncIterator];
    // @ts-expect-error a sink is finished
    greeter.collect().closeSend();
    // @ts-expect-error a duplex is half-closed
    greeter.chat().finish();
    // @ts-expect-error a unary call is a promise
    greeter.sayHello({}).cancel();
    // @ts-expect-error set by the call
    greeter.chat().state = "open";
  };
});

test("calls, transports and servers are closed by `await using`", () => {
  async () => {
    await using transport = createTransport({ baseUrl: "" });
    await using chat = greeter.chat();
    await using push = greeter.subscribe({});
    await using sink = greeter.collect();
    await using server = createServer({ routes: () => {} });
    expectTypeOf(transport).toEqualTypeOf<ClosableTransport>();
    expectTypeOf(server).toEqualTypeOf<Server>();
    return [chat, push, sink];
  };
});

test("options are checked", () => {
  () => {
    // @ts-expect-error where to?
    createTransport({});
    // @ts-expect-error no such option
    createTransport({ baseUrl: "", url: "" });
    // @ts-expect-error gzip or identity
    createTransport({ baseUrl: "", sendCompression: "br" });
    // @ts-expect-error what is served?
    createServer({});
    // @ts-expect-error a port or a path
    createServer({ routes: () => {} }).listen({ path: "/x", port: 1 });
    expectTypeOf<CallOptions>().toHaveProperty("compress").toEqualTypeOf<boolean | undefined>();
    expectTypeOf<CallOptions["headers"]>().toEqualTypeOf<CallHeaders | undefined>();
    expectTypeOf<() => Promise<{ "x-name": string }>>().toExtend<CallHeaders>();
    // @ts-expect-error the function has no arguments
    createTransport({ baseUrl: "", headers: (name: string) => ({ name }) });
    // @ts-expect-error it says headers
    createTransport({ baseUrl: "", headers: async () => 1 });
  };
});

test("a client of a service has no `any` in it", () => {
  expectTypeOf(createClient<typeof Greeter>).returns.toEqualTypeOf<Client<typeof Greeter>>();
  expectTypeOf<Client<typeof Greeter>>().not.toBeAny();
  expectTypeOf<Parameters<Client<typeof Greeter>["sayHello"]>[0]>().not.toBeAny();
  expectTypeOf<Awaited<ReturnType<Client<typeof Greeter>["sayHello"]>>>().not.toBeAny();
  () => {
    // @ts-expect-error a service comes first
    createClient(createTransport({ baseUrl: "" }), Greeter);
    // @ts-expect-error a transport is needed
    createClient(Greeter);
    // Of a service that is not known before run time.
    createClient(Greeter as DescService, createTransport({ baseUrl: "" }));
  };
});

test("our client and transport are assignable to Connect's types", () => {
  expectTypeOf<Client<typeof Greeter>>().toExtend<StockClient<typeof Greeter>>();
  expectTypeOf<ClosableTransport>().toExtend<StockTransport>();
  expectTypeOf<Transport>().toEqualTypeOf<StockTransport>();
});

test("handlers are typed by the service", () => {
  const handlers: ServiceImpl<typeof Greeter> = {
    sayHello(request, context) {
      expectTypeOf(request).toEqualTypeOf<MessageRequest>();
      expectTypeOf(context).toEqualTypeOf<HandlerContext>();
      return { reply: request.content };
    },
    async *chat(requests, context) {
      expectTypeOf(requests).toEqualTypeOf<AsyncIterable<MessageRequest>>();
      sendHeaders(context);
      for await (const { content } of requests) yield { reply: content };
    },
    async *subscribe({ count }) {
      expectTypeOf(count).toEqualTypeOf<number>();
      yield { sequence: 1n };
    },
    collect: async (requests) => {
      expectTypeOf(requests).toEqualTypeOf<AsyncIterable<MessageRequest>>();
      return { count: 1 };
    },
  };
  () => {
    createServer({ routes: (router) => router.service(Greeter, handlers) });
    // @ts-expect-error a method is missing
    const incomplete: ServiceImpl<typeof Greeter> = { sayHello: () => ({}) };
    createServer({
      routes: (router) =>
        router.service(Greeter, {
          // @ts-expect-error a reply has no content
          sayHello: () => ({ content: "" }),
        }),
    });
    createServer({
      routes: (router) =>
        router.service(Greeter, {
          // @ts-expect-error many replies, not one
          chat: async () => ({ reply: "" }),
        }),
    });
    createServer({
      // @ts-expect-error no such method
      routes: (router) => router.service(Greeter, { shout: () => ({}) }),
    });
    return incomplete;
  };
});

test("a handler of duplex() is typed by the method that it is for", () => {
  const handlers: Partial<ServiceImpl<typeof Greeter>> = {
    chat: duplex(async ({ requests, send, signal, context }) => {
      expectTypeOf(requests).toEqualTypeOf<AsyncIterable<MessageRequest>>();
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
      expectTypeOf(context).toEqualTypeOf<HandlerContext>();
      for await (const { content } of requests) {
        expectTypeOf(send({ reply: content })).toEqualTypeOf<Promise<void>>();
      }
    }),
  };
  () => {
    createServer({ routes: (router) => router.service(Greeter, handlers) });
    createServer({
      routes: (router) =>
        router.service(Greeter, {
          // @ts-expect-error a reply has no content
          chat: duplex(({ send }) => send({ content: "" })),
        }),
    });
    createServer({
      routes: (router) =>
        router.service(Greeter, {
          // @ts-expect-error one response, not many
          collect: duplex(() => {}),
        }),
    });
  };
});

test("both entries export the type of a message that a handler returns", () => {
  type Watch = typeof WatchResponseSchema;
  expectTypeOf<MessageInitShape<Watch>>().toEqualTypeOf<StockInitShape<Watch>>();
  expectTypeOf<ServerInitShape<Watch>>().toEqualTypeOf<StockInitShape<Watch>>();
});

test("a subscription shows what its caller uses, and nothing of the hub that wakes the subscription", () => {
  type Shown = "placed" | "tell" | "close" | typeof Symbol.asyncIterator;
  expectTypeOf<keyof Subscription<string>>().toEqualTypeOf<Shown>();
});

test("a hub's shape with a return type is checked against the contract, in each case of a oneof too", () => {
  type Shape = MessageInitShape<typeof WatchResponseSchema>;
  const handlers = (hub: Hub<string>): Pick<ServiceImpl<typeof RoomService>, "watch" | "join"> => ({
    watch(_, { signal }) {
      const shape = (event: HubEvent<string>): Shape => {
        if (event.kind === "opening") {
          const { cursor } = event;
          return { cursor, event: { case: "opened", value: { members: [{ name: "ada" }] } } };
        }
        if (event.kind === "gap") {
          return { cursor: event.cursor, event: { case: "gap", value: {} } };
        }
        return { cursor: "", event: { case: "message", value: { text: event.value } } };
      };
      return hub.subscribe("lobby", { shape }, signal);
    },
    join(_, { signal }) {
      const subscription = hub.subscribe(
        "lobby",
        {
          shape: (event): MessageInitShape<typeof JoinResponseSchema> | undefined =>
            event.kind === "record"
              ? { event: { case: "message", value: { text: event.value } } }
              : undefined,
        },
        signal,
      );
      expectTypeOf(subscription.tell)
        .parameter(0)
        .toEqualTypeOf<MessageInitShape<typeof JoinResponseSchema>>();
      return subscription;
    },
  });
  () => {
    // @ts-expect-error no such case
    const wrongCase: Shape = { event: { case: "opend", value: {} } };
    // @ts-expect-error a gap is not a message
    const wrongValue: Shape = { event: { case: "gap", value: { text: "" } } };
    // @ts-expect-error no such field
    const wrongField: Shape = { cursr: "" };
    return [handlers, wrongCase, wrongValue, wrongField];
  };
});
