/** @grpc/grpc-js on one side, sessions on the other: a plain call, and no sign of them. */
import * as grpc from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { Greeter, type MessageRequest, type MessageResponse } from "../gen/example/greeter_pb.js";
import { SessionService } from "../gen/hawser/v1/session_pb.js";
import { Code, createClient } from "../src/index.ts";
import { echo, numbered, worldOf } from "./interop/world.ts";
import { grpcJsClient, serviceDefinition } from "./support/grpc-js.ts";
import { failureOf } from "./support/read.ts";
import { start } from "./support/world.ts";

/** A Greeter of grpc-js that notes the metadata of the chats that it has. */
async function startNoting() {
  const chats: grpc.Metadata[] = [];
  const server = new grpc.Server();
  server.addService(serviceDefinition(Greeter), {
    sayHello: () => {},
    collect: () => {},
    subscribe: () => {},
    chat(call: grpc.ServerDuplexStream<MessageRequest, Pick<MessageResponse, "reply">>) {
      chats.push(call.metadata);
      call.on("data", ({ content }) => call.write({ reply: `Received: ${content}` }));
      call.on("end", () => call.end());
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    url: `http://127.0.0.1:${port}`,
    chats,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => server.tryShutdown(() => resolve())),
  };
}

test("our client, grpc-js server: Negotiate is UNIMPLEMENTED, and a chat has no session", async () => {
  await using server = await startNoting();
  await using world = worldOf({ baseUrl: server.url });
  const asked = createClient(SessionService, world.transport).negotiate({});
  expect(await failureOf(asked)).toMatchObject({ code: Code.Unimplemented });
  for (let n = 0; n < 2; n++) {
    const chat = await echo(world.greeter, numbered(100));
    expect(chat).toMatchObject({ state: "closed", resumable: false });
  }
  expect(server.chats).toHaveLength(2);
  for (const metadata of server.chats) {
    const names = Object.keys(metadata.getMap());
    expect(names).toContain("user-agent");
    expect(names.filter((name) => name.startsWith("hawser-"))).toEqual([]);
  }
});

test("grpc-js client, our server: a chat has no session", async () => {
  await using world = await start();
  const client = grpcJsClient(Greeter, new URL(world.url).host, {
    "grpc.use_local_subchannel_pool": 1,
  });
  const chat: grpc.ClientDuplexStream<{ content: string }, MessageResponse> = client.chat();
  const heads: grpc.Metadata[] = [];
  const replies: string[] = [];
  chat.on("metadata", (metadata) => heads.push(metadata));
  chat.on("data", ({ reply }) => replies.push(reply));
  const ended = new Promise<grpc.StatusObject>((resolve) => chat.once("status", resolve));
  for (const content of numbered(100)) chat.write({ content });
  chat.end();
  const status = await ended;
  expect(status.code).toBe(grpc.status.OK);
  expect(replies).toHaveLength(100);
  const names = [...heads, status.metadata].flatMap((metadata) => Object.keys(metadata.getMap()));
  expect(names).toContain("content-type");
  expect(names.filter((name) => name.startsWith("hawser-"))).toEqual([]);
  client.close();
});
