/** Our client against a server of @grpc/grpc-js: what it does with every peer, and how it takes a shutdown. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Code, ConnectError } from "../src/index.ts";
import { scenarios } from "./interop/scenarios.ts";
import {
  type Capabilities,
  EVERYTHING,
  numbered,
  read,
  type World,
  worldOf,
} from "./interop/world.ts";
import { type GrpcJsServer, startGrpcJsServer } from "./support/grpc-js-greeter.ts";

/** grpc-js does not compress what its server sends, does not report sizes, and cuts a grpc-timeout to 32 bits. */
const capabilities: Capabilities = {
  ...EVERYTHING,
  gzipResponses: false,
  wire: false,
  longDeadlines: false,
};

describe("our client, grpc-js server", () => {
  let server: GrpcJsServer;
  let world: World;

  beforeAll(async () => {
    server = await startGrpcJsServer();
    world = worldOf({ baseUrl: server.url });
  });

  afterAll(async () => {
    await world[Symbol.asyncDispose]();
    // close() waits for the calls of the transport: all have ended.
    await server.shutdown();
  });

  for (const { name, run, needs } of scenarios()) {
    const capable = needs === undefined || capabilities[needs];
    test.skipIf(!capable)(name, { timeout: 30_000 }, () => run(world));
  }
});

test("a chat continues to its end while the server shuts down, and new calls are refused", async () => {
  await using server = await startGrpcJsServer();
  await using world = worldOf({ baseUrl: server.url });
  const chat = world.greeter.chat({ headers: { "x-drain": "yes" } });
  const calling = (async () => {
    for (;;) await world.greeter.sayHello({});
  })();
  const refusal = await calling.catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(ConnectError);
  expect((refusal as ConnectError).code).toBe(Code.Unavailable);
  const replies = read(chat);
  for (const content of numbered(100)) await chat.send({ content });
  chat.closeSend();
  expect(await replies).toHaveLength(100);
});
