/** A push with a cursor over the transports of @connectrpc/connect-web, which use fetch. */
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { expect, test } from "vitest";
import { RoomService, type WatchResponse } from "../gen/chat/v1/room_pb.js";
import { startWorld } from "../src/testing.ts";
import { Code, createClient } from "../src/web.ts";
import { failureOf, next } from "./support/read.ts";
import { textOf, texts, toyRoom } from "./support/toy-room.ts";

const transports = { Connect: createConnectTransport, "gRPC-Web": createGrpcWebTransport };

/** A watch whose attempts after the first one get these answers of a proxy, and then those of the server. */
async function watching(protocol: keyof typeof transports, ...answers: readonly Response[]) {
  const room = toyRoom();
  const world = await startWorld((router) => router.service(RoomService, room.service));
  const [left, asked] = [[...answers], { count: 0 }];
  const transport = transports[protocol]({
    baseUrl: world.url,
    fetch: (...request) => {
      const answer = asked.count++ === 0 ? undefined : left.shift();
      return answer === undefined ? fetch(...request) : Promise.resolve(answer);
    },
  });
  const watch = createClient(RoomService, transport).watch({ room: "lobby" });
  await next(watch);
  const read: (string | undefined)[] = [];
  return {
    ...{ room, world, watch, read, asked },
    async readTo(last: string) {
      while (read.at(-1) !== last) {
        const text = textOf((await next(watch)) as WatchResponse);
        if (text !== undefined) read.push(text);
      }
    },
    async [Symbol.asyncDispose]() {
      watch.cancel();
      await world[Symbol.asyncDispose]();
    },
  };
}

const page = (status: number) =>
  new Response("<h1>Bad gateway</h1>", { status, headers: { "content-type": "text/html" } });

test.each(["Connect", "gRPC-Web"] as const)(
  "over %s a push continues after a cut, and after each status with which a proxy answers meanwhile",
  async (protocol) => {
    await using scene = await watching(protocol, ...[500, 502, 503, 504].map(page));
    scene.room.post(100);
    await scene.readTo("100");
    await scene.world.link.cut();
    scene.room.post(100);
    await scene.readTo("200");
    expect(scene.read).toEqual(texts(200));
    expect(scene.asked.count).toBe(6);
  },
);

test("over Connect a push continues after a body that ends without its end", async () => {
  const headers = { "content-type": "application/connect+json" };
  await using scene = await watching("Connect", new Response("", { headers }));
  scene.room.post(1);
  await scene.readTo("1");
  await scene.world.link.cut();
  scene.room.post(1);
  await scene.readTo("2");
  expect(scene.read).toEqual(texts(2));
});

test.each([
  [403, "text/html", Code.PermissionDenied],
  [501, "text/html", Code.Unknown],
  [500, "application/json", Code.Unknown],
])("a push ends with the status %i of %s", async (status, type, code) => {
  const answer = new Response("{}", { status, headers: { "content-type": type } });
  await using scene = await watching("Connect", answer);
  scene.room.post(1);
  await scene.readTo("1");
  await scene.world.link.cut();
  expect(await failureOf(scene.watch)).toMatchObject({ code });
});
