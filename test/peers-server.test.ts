/** A client of @grpc/grpc-js against our server. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { anyIs, anyUnpack, timestampMs } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import {
  type CollectResponse,
  Greeter,
  type MessageResponse,
  MessageResponseSchema,
  type Notification,
} from "../gen/example/greeter_pb.js";
import { ERROR_INFO, FAILURE_MESSAGE, switchedGreeter } from "./interop/greeter.ts";
import { numbered } from "./interop/world.ts";
import { aborted, gate } from "./support/gate.ts";
import { decodeStatus, grpcJsClient, metadataOf } from "./support/grpc-js.ts";
import { certs } from "./support/tls.ts";
import { type Setup, start } from "./support/world.ts";

type Chat = grpc.ClientDuplexStream<{ content: string }, MessageResponse>;
type Headers = Record<string, string>;

/** Our server, whose Greeter has the switches of test/interop/README.md, and a client of grpc-js. */
async function startPeers(
  options: grpc.ClientOptions = {},
  setup: Setup = {},
  credentials?: grpc.ChannelCredentials,
) {
  const world = await start({
    greeter: switchedGreeter(() => void world.server.close()),
    ...setup,
  });
  const client = grpcJsClient(
    Greeter,
    new URL(world.url).host,
    { "grpc.use_local_subchannel_pool": 1, ...options },
    credentials,
  );
  return {
    hello: (content: string, asked?: Headers | grpc.Metadata, options?: grpc.CallOptions) =>
      answer<MessageResponse>((done) =>
        client.sayHello({ content }, asMetadata(asked), options ?? {}, done),
      ),
    collect: (contents: string[], asked?: Headers) =>
      answer<CollectResponse>((done) => {
        const call = client.collect(asMetadata(asked), done);
        for (const content of contents) call.write({ content });
        call.end();
        return call;
      }),
    subscribe: (request: object, asked?: Headers): grpc.ClientReadableStream<Notification> =>
      client.subscribe(request, asMetadata(asked)),
    chat: (asked?: Headers | grpc.Metadata, options?: grpc.CallOptions): Chat =>
      client.chat(asMetadata(asked), options ?? {}),
    async [Symbol.asyncDispose]() {
      client.close();
      await world[Symbol.asyncDispose]();
    },
  };
}

function asMetadata(asked: Headers | grpc.Metadata = {}): grpc.Metadata {
  return asked instanceof grpc.Metadata ? asked : metadataOf(...Object.entries(asked));
}

/** A call with one response, to its end. */
async function answer<Res>(
  call: (done: (error: grpc.ServiceError | null, response?: Res) => void) => grpc.ClientUnaryCall,
) {
  const { promise, resolve } = Promise.withResolvers<Res | undefined>();
  const ongoing = call((_, response) => resolve(response));
  const { leading, status } = endOf(ongoing);
  return { response: await promise, leading: leading(), status: await status };
}

/** Resolves with the leading metadata and the status, each when it arrives. */
function endOf(call: NodeJS.EventEmitter) {
  let leading = new grpc.Metadata();
  call.on("metadata", (metadata) => {
    leading = metadata;
  });
  const status = new Promise<grpc.StatusObject>((resolve) => call.once("status", resolve));
  return { leading: () => leading, status };
}

/** All responses of a stream, and its status. */
async function readAll<Res>(call: grpc.ClientReadableStream<Res>) {
  const messages: Res[] = [];
  const { leading, status } = endOf(call);
  const ended = new Promise<void>((resolve) => {
    call.once("end", resolve);
    call.once("error", () => resolve());
  });
  call.on("data", (message) => messages.push(message));
  await ended;
  return { messages, leading: leading(), status: await status };
}

async function echo(chat: Chat, contents: string[]) {
  const reading = readAll(chat);
  for (const content of contents) {
    if (!chat.write({ content })) {
      await new Promise<void>((resolve) => chat.once("drain", resolve));
    }
  }
  chat.end();
  const all = await reading;
  expect(all.status).toMatchObject({ code: grpc.status.OK });
  const replies = all.messages.map(({ reply }) => reply);
  // Not toEqual of texts of megabytes: it would print them.
  expect(replies.length).toBe(contents.length);
  expect(replies.every((reply, i) => reply === `Received: ${contents[i]}`)).toBe(true);
  return all;
}

const AT_ONCE = { seconds: 0n, nanos: 0 };

function detail<Desc extends DescMessage>(
  status: grpc.StatusObject,
  schema: Desc,
): MessageShape<Desc> | undefined {
  const [bytes] = status.metadata.get("grpc-status-details-bin");
  const { details } = decodeStatus(bytes as Buffer);
  const found = details.find((any) => anyIs(any, schema));
  return found && anyUnpack(found, schema);
}

function expectAsked(status: grpc.StatusObject, code: grpc.status): void {
  expect(status).toMatchObject({ code, details: FAILURE_MESSAGE });
  const [bytes] = status.metadata.get("grpc-status-details-bin");
  const sent = decodeStatus(bytes as Buffer);
  expect(sent).toMatchObject({ code, message: FAILURE_MESSAGE });
  expect(sent.details[0]?.typeUrl).toBe(`type.googleapis.com/${ERROR_INFO.type}`);
  expect(Buffer.from(sent.details[0]!.value)).toEqual(Buffer.from(ERROR_INFO.value));
  expect(detail(status, MessageResponseSchema)?.reply).toBe("a detail");
}

describe("grpc-js client, our server", () => {
  test("unary", async () => {
    await using peers = await startPeers();
    const { response, status } = await peers.hello("grpc-js");
    expect(response?.reply).toBe("Hello, grpc-js");
    expect(status.code).toBe(grpc.status.OK);
  });

  test("server push", async () => {
    await using peers = await startPeers();
    const { messages, status } = await readAll(peers.subscribe({ count: 50, interval: AT_ONCE }));
    expect(status.code).toBe(grpc.status.OK);
    expect(messages.map(({ sequence }) => Number(sequence))).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
    expect(Math.abs(timestampMs(messages[0]!.time!) - Date.now())).toBeLessThan(60_000);
  });

  test.each([0, 1, 1000])(
    "a client-streaming call with %i requests gets its response",
    async (count) => {
      await using peers = await startPeers();
      const { response } = await peers.collect(Array<string>(count).fill("grüße"));
      expect(response).toMatchObject({ count, bytes: 7n * BigInt(count) });
    },
  );

  test("10,000 messages come back while both directions overlap", { timeout: 30_000 }, async () => {
    await using peers = await startPeers();
    await echo(peers.chat(), numbered(10_000));
  });

  test("calls without messages end with OK", async () => {
    await using peers = await startPeers();
    await echo(peers.chat(), []);
    await echo(peers.chat(), ["", ""]);
  });

  test("replies come after the half-close", async () => {
    await using peers = await startPeers();
    await echo(peers.chat({ "x-late": "yes" }), numbered(100));
  });

  test("a call whose server ends first ends well", async () => {
    await using peers = await startPeers();
    const chat = peers.chat({ "x-end-after": "3" });
    const reading = readAll(chat);
    for (const content of numbered(3)) chat.write({ content });
    const { messages, status } = await reading;
    expect(messages).toHaveLength(3);
    expect(status.code).toBe(grpc.status.OK);
  });

  test("leading and trailing metadata arrive, text and binary", async () => {
    await using peers = await startPeers();
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const metadata = metadataOf(
      ["x-lead", "one"],
      ["x-lead", "two"],
      ["x-lead-bin", every],
      ["x-lead-bin", Buffer.from("second")],
      ["x-trail", "three, four"],
      ["x-trail-bin", every],
      ["x-trail-bin", Buffer.from("second")],
    );
    const check = (leading: grpc.Metadata, trailing: grpc.Metadata) => {
      expect(leading.get("x-lead").join(", ")).toBe("one, two");
      expect(leading.get("x-lead-bin")).toEqual([every, Buffer.from("second")]);
      expect(trailing.get("x-trail").join(", ")).toBe("three, four");
      expect(trailing.get("x-trail-bin")).toEqual([every, Buffer.from("second")]);
    };
    const unary = await peers.hello("", metadata);
    check(unary.leading, unary.status.metadata);
    const chat = await echo(peers.chat(metadata), numbered(3));
    check(chat.leading, chat.status.metadata);
  });

  test("leading metadata arrive before the first message", async () => {
    await using peers = await startPeers();
    const chat = peers.chat({ "x-headers-first": "yes", "x-lead": "early" });
    const leading = await new Promise<grpc.Metadata>((resolve) => chat.once("metadata", resolve));
    expect(leading.get("x-lead")).toEqual(["early"]);
    await echo(chat, []);
  });

  test("errors of every code arrive with details", async () => {
    await using peers = await startPeers();
    for (let code = grpc.status.CANCELLED; code <= grpc.status.UNAUTHENTICATED; code++) {
      const { response, status } = await peers.hello("", { "x-fail": String(code) });
      expect(response).toBeUndefined();
      expectAsked(status, code);
    }
  });

  test("errors of streaming calls arrive with details", async () => {
    await using peers = await startPeers();
    const { status } = await peers.collect([], { "x-fail": "9" });
    expectAsked(status, grpc.status.FAILED_PRECONDITION);
    const push = await readAll(peers.subscribe({ count: 3, interval: AT_ONCE }, { "x-fail": "5" }));
    expectAsked(push.status, grpc.status.NOT_FOUND);
    expect(push.messages).toHaveLength(3);
    const chat = peers.chat({ "x-fail": "10" });
    const reading = readAll(chat);
    chat.write({ content: "one" });
    const { messages, status: aborted } = await reading;
    expectAsked(aborted, grpc.status.ABORTED);
    expect(messages.map(({ reply }) => reply)).toEqual(["Received: one"]);
  });
});

/**
 * A chat, and a promise of its handler's end and its signal's abort. The requests may end as if half-closed: where
 * grpc-js cancels, it sends END_STREAM before RST_STREAM.
 */
function watchedChat() {
  const left = gate();
  const signalled = gate();
  const greeter: Setup["greeter"] = {
    async *chat(requests, { signal }) {
      aborted(signal).then(() => signalled.open());
      try {
        for await (const { content } of requests) yield { reply: content };
      } finally {
        left.open();
      }
    },
  };
  return { greeter, over: Promise.all([left.opened, signalled.opened]) };
}

describe("grpc-js client, our server: deadline and cancel", () => {
  const inMs = (ms: number) => ({ deadline: Date.now() + ms });

  test("the handler sees the client's deadline", async () => {
    await using peers = await startPeers();
    const { response } = await peers.hello("", { "x-deadline": "yes" }, inMs(30_000));
    expect(Number(response?.reply)).toBeGreaterThan(25_000);
    expect(Number(response?.reply)).toBeLessThanOrEqual(30_001);
    const none = await peers.hello("", { "x-deadline": "yes" });
    expect(none.response?.reply).toBe("none");
  });

  test("a deadline ends a unary call and its handler", async () => {
    await using peers = await startPeers();
    const { status } = await peers.hello("", { "x-hold": "unary" }, inMs(200));
    expect(status.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    const { response } = await peers.hello("", { "x-ask": "unary" });
    // The client's reset may arrive before the server's timer fires.
    expect(response?.reply).toMatch(/deadline|canceled/);
  });

  test("a deadline ends a chat whose handler waits for a request", async () => {
    const { greeter, over } = watchedChat();
    await using peers = await startPeers({}, { greeter });
    const chat = peers.chat({}, inMs(200));
    const reading = readAll(chat);
    chat.write({ content: "one" });
    const { messages, status } = await reading;
    expect(status.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    expect(messages).toHaveLength(1);
    await over;
  });

  test("a cancel ends a push and its handler", async () => {
    await using peers = await startPeers();
    const push = peers.subscribe({ interval: { seconds: 0n, nanos: 1e6 } }, { "x-hold": "push" });
    push.on("data", ({ sequence }) => {
      if (sequence === 5n) push.cancel();
    });
    const { status } = await readAll(push);
    expect(status.code).toBe(grpc.status.CANCELLED);
    const { response } = await peers.hello("", { "x-ask": "push" });
    expect(response?.reply).toBe("canceled");
  });

  test("a cancel ends a chat and its handler", async () => {
    const { greeter, over } = watchedChat();
    await using peers = await startPeers({}, { greeter });
    const chat = peers.chat();
    const reading = readAll(chat);
    chat.once("data", () => chat.cancel());
    chat.write({ content: "one" });
    const { status } = await reading;
    expect(status.code).toBe(grpc.status.CANCELLED);
    await over;
  });
});

describe("grpc-js client, our server: sizes and connections", () => {
  const THREE_MIB = "0123456789abcdef".repeat((3 * 1024 * 1024) / 16);
  const COMPRESSIBLE = "compress me ".repeat(10_000);

  test("messages of 3 MiB arrive in all four kinds of call", async () => {
    await using peers = await startPeers();
    const { response } = await peers.hello(THREE_MIB);
    expect(response?.reply === `Hello, ${THREE_MIB}`).toBe(true);
    await echo(peers.chat(), [THREE_MIB, "small", THREE_MIB]);
    const total = await peers.collect([THREE_MIB, THREE_MIB]);
    expect(total.response?.bytes).toBe(2n * BigInt(THREE_MIB.length));
    const asked = { "x-bytes": String(THREE_MIB.length) };
    const { messages } = await readAll(peers.subscribe({ count: 2, interval: AT_ONCE }, asked));
    expect(messages.map(({ content }) => content.length)).toEqual(Array(2).fill(THREE_MIB.length));
  });

  test("a request over the limit is RESOURCE_EXHAUSTED, the next call is served", async () => {
    await using peers = await startPeers();
    const { status } = await peers.hello("x".repeat(5 * 1024 * 1024));
    expect(status.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    expect((await peers.hello("again")).response?.reply).toBe("Hello, again");
  });

  test("messages are compressed with gzip both ways", async () => {
    const gzip = { "grpc.default_compression_algorithm": 2 };
    await using peers = await startPeers(gzip, { server: { sendCompression: "gzip" } });
    await echo(peers.chat(), [COMPRESSIBLE, "short", "", COMPRESSIBLE]);
    const { response } = await peers.hello(COMPRESSIBLE);
    expect(response?.reply === `Hello, ${COMPRESSIBLE}`).toBe(true);
  });

  test("responses are compressed for a client that does not compress", async () => {
    await using peers = await startPeers({}, { server: { sendCompression: "gzip" } });
    await echo(peers.chat(), [COMPRESSIBLE, "short", "", COMPRESSIBLE]);
  });

  test("a client with a certificate is served over mTLS", async () => {
    const tls = { ...certs.server, ca: certs.ca };
    const { ca, client } = certs;
    const credentials = grpc.credentials.createSsl(
      Buffer.from(ca),
      Buffer.from(client.key),
      Buffer.from(client.cert),
    );
    const named = { "grpc.ssl_target_name_override": "localhost" };
    await using peers = await startPeers(named, { server: { tls } }, credentials);
    await echo(peers.chat(), numbered(5));
  });

  test("a chat continues to its end while the server shuts down, and new calls are refused", async () => {
    await using peers = await startPeers();
    const chat = peers.chat({ "x-drain": "yes", "x-headers-first": "yes" });
    await new Promise((resolve) => chat.once("metadata", resolve));
    let refusal: grpc.StatusObject;
    do {
      refusal = (await peers.hello("")).status;
    } while (refusal.code === grpc.status.OK);
    expect(refusal.code).toBe(grpc.status.UNAVAILABLE);
    await echo(chat, numbered(100));
  });
});
