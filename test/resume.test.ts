/** Server-streaming calls that continue from a cursor, as resume.proto declares them. */
import { constants, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import {
  RoomService,
  WatchRequestSchema,
  type WatchResponse,
  WatchResponseSchema,
} from "../gen/chat/v1/room_pb.js";
import {
  type CallState,
  Code,
  ConnectError,
  createClient,
  createTransport,
  type Interceptor,
} from "../src/index.ts";
import { gate, until } from "./support/gate.ts";
import { all, next } from "./support/read.ts";
import { begin, type Event, roomWorld, textOf, texts, toyRoom } from "./support/toy-room.ts";
import { start } from "./support/world.ts";

/** Reads until a message has this text; returns the texts up to it. */
async function readTo(call: AsyncIterable<WatchResponse>, last: string): Promise<string[]> {
  const read: string[] = [];
  while (read.at(-1) !== last) {
    const response = await next(call);
    if (response === undefined) throw new Error(`the call ended before ${last}`);
    const text = textOf(response);
    if (text !== undefined) read.push(text);
  }
  return read;
}

describe("a watch that continues from a cursor", () => {
  test("a watch over a link that is cut at random places gets every message once, in order", async () => {
    await using world = await roomWorld();
    const call = await world.watching();
    const read: string[] = [];
    for (let round = 1; round <= 8; round++) {
      const cut = world.link.cutAfter("down", 1 + Math.floor(Math.random() * 20_000));
      world.room.post(1000);
      read.push(...(await readTo(call, `${round * 1000}`)));
      // A cut after the final message: the message still arrives.
      world.link.cut();
      await Promise.race([cut, until("the next attempt", () => world.room.open === 1)]);
    }
    expect(read).toEqual(texts(8000));
    expect(world.room.watchings.length).toBeGreaterThan(8);
    call.cancel();
  });

  test("a watch continues after the newest message that arrived, although the caller takes that message after the loss", async () => {
    await using world = await roomWorld();
    const call = await world.watching();
    world.room.post(3);
    expect(textOf((await next(call)) as WatchResponse)).toBe("1");
    world.room.end(new ConnectError("moving", Code.Unavailable));
    world.room.post(1);
    expect(await readTo(call, "4")).toEqual(["2", "3", "4"]);
    expect(world.room.watchings.map(({ after }) => after)).toEqual(["", "3"]);
    call.cancel();
  });

  test("a watch continues on a server that was restarted, and its state says so", async () => {
    await using world = await roomWorld();
    const call = await world.watching();
    const states: CallState[] = [];
    call.onState((state) => states.push(state));
    expect(call).toMatchObject({ state: "open", resumable: true });
    world.room.post(2);
    await readTo(call, "2");

    const reading = readTo(call, "4");
    await world.server.close({ graceMs: 0 });
    await until("it looks for a server", () => states.length === 1);
    world.room.post(2);
    await world.server.restart();
    expect(await reading).toEqual(["3", "4"]);
    expect(states).toEqual(["resuming", "open"]);
    expect(world.room.watchings.map(({ after }) => after)).toEqual(["", "2"]);
    call.cancel();
    expect(call.state).toBe("closed");
    expect(states).toEqual(["resuming", "open", "closed"]);
  });

  test("a watch continues from the same cursor after control events, whose cursor is empty", async () => {
    const control: Event = { event: { case: "membersChanged", value: { count: 1 } } };
    await using world = await roomWorld({}, [control, control]);
    const call = await world.watching();
    expect(await next(call)).toMatchObject({ cursor: "", event: { case: "membersChanged" } });
    world.link.cut();
    await next(call);
    world.room.post(1);
    await readTo(call, "1");
    // After the very first cursor, before any message.
    expect(world.room.watchings.map(({ after }) => after)).toEqual(["", "0"]);
    call.cancel();
  });

  test("a watch continues with the same request, and does not change the caller's request", async () => {
    await using world = await roomWorld();
    for (const kind of ["message", "fields"]) {
      const seen = world.room.watchings.length;
      const fields = { room: "lobby", after: "" };
      const request = kind === "message" ? create(WatchRequestSchema, fields) : fields;
      const call = world.watch(request);
      await next(call);
      request.room = "another";
      world.link.cut();
      await next(call);
      expect(request).toMatchObject({ room: "another", after: "" });
      expect(world.room.watchings.slice(seen)).toMatchObject([{ after: "" }, { after: "0" }]);
      call.cancel();
    }
  });

  test("a watch returns the headers of the first attempt and the trailers of the final one", async () => {
    const heard: string[] = [];
    const note = (headers: Headers) => heard.push(headers.get("x-watching") as string);
    let served = 0;
    const room = toyRoom();
    await using world = await start({
      server: {
        routes: (router) =>
          router.service(RoomService, {
            async *watch(request, context) {
              const events = room.service.watch?.(request, context) as AsyncIterable<Event>;
              for await (const event of events) {
                yield event;
                if (++served < 3) throw new ConnectError("again", Code.Unavailable);
                return;
              }
            },
          }),
      },
    });
    const call = world.client(RoomService).watch({}, { onHeader: note, onTrailer: note });
    expect(await all(call)).toHaveLength(3);
    expect((await call.headers).get("x-watching")).toBe("1");
    expect((await call.trailers).get("x-watching")).toBe("3");
    expect(heard).toEqual(["1", "3"]);
    expect(call.state).toBe("closed");
  });

  test("a watch runs the interceptors around each attempt, and has no session", async () => {
    const requests: (string | null)[] = [];
    const noting: Interceptor = (next) => async (request) => {
      requests.push(request.header.get("x-token"));
      request.header.set("x-token", `${requests.length}`);
      return await next(request);
    };
    await using world = await roomWorld({ interceptors: [noting], sessions: true });
    const call = await begin(world.client(RoomService), { headers: { "x-token": "first" } });
    world.link.cut();
    await next(call);
    expect(requests).toEqual(["first", "first"]);
    const headers = world.room.watchings.map(({ context }) => context.requestHeader);
    expect(headers.map((one) => one.get("x-token"))).toEqual(["1", "2"]);
    expect(headers.map((one) => one.get("hawser-session"))).toEqual([null, null]);
    call.cancel();
  });

  const stock: Record<string, (baseUrl: string) => Transport> = {
    gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
    "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    "Connect over HTTP/1.1": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
    "Connect over HTTP/2": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
  };

  test.each(Object.entries(stock))(
    "a watch continues on Connect's transport for %s",
    async (_, to) => {
      await using world = await roomWorld();
      const call = await begin(createClient(RoomService, to(world.link.url)));
      world.room.post(2);
      expect(await readTo(call, "2")).toEqual(["1", "2"]);
      world.link.cut();
      world.room.post(2);
      expect(await readTo(call, "4")).toEqual(["3", "4"]);
      expect(world.room.watchings.map(({ after }) => after)).toEqual(["", "2"]);
      call.cancel();
      await until("the server has seen it", () => world.room.open === 0);
      world.link.cut();
    },
  );
});

test("a stream that a proxy resets counts as cut off", async () => {
  let calls = 0;
  let asked = 0;
  const taken = gate();
  const proxy = createHttp2Server();
  proxy.on("stream", (stream, { ":path": path }) => {
    stream.on("error", () => {});
    stream.resume();
    // The client asks whether it is a Hawser server: it is not.
    if (!path?.endsWith("/Watch")) {
      asked++;
      stream.respond({ ":status": 200, "grpc-status": "12" }, { endStream: true });
      return;
    }
    stream.respond(
      { ":status": 200, "content-type": "application/grpc+proto" },
      { waitForTrailers: true },
    );
    const payload = toBinary(WatchResponseSchema, create(WatchResponseSchema, { cursor: "1" }));
    const first = ++calls === 1;
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.write(Buffer.from([0, 0, 0, 0, payload.length, ...payload]));
    if (first) void taken.opened.then(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    else stream.end();
  });
  await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening));
  const { port } = proxy.address() as AddressInfo;
  await using transport = createTransport({ baseUrl: `http://127.0.0.1:${port}` });
  const watch = createClient(RoomService, transport).watch({});
  await next(watch);
  taken.open();
  expect(await all(watch)).toHaveLength(1);
  expect({ calls, asked }).toEqual({ calls: 2, asked: 1 });
  await transport.close();
  await new Promise((closed) => proxy.close(closed));
});
