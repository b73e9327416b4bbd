/** `binaryOptions`: of a transport, of a server, of a route. */
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescService,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { createClient as createStockClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Code, createClient, createTransport } from "../src/index.ts";
import { createServer, encodedOnce } from "../src/server.ts";
import { failureOf } from "./support/read.ts";
import { type Setup, start } from "./support/world.ts";

type BinaryOptions = NonNullable<Parameters<typeof createTransport>[0]["binaryOptions"]>;
type Tree = Record<string, unknown> & { readonly $unknown?: unknown };

/** A service that returns a tree unchanged. */
const service = describeTrees();
const tree = (service.methods[0] as { input: DescMessage }).input;

function describeTrees(): DescService {
  const file = create(FileDescriptorProtoSchema, {
    name: "trees.proto",
    package: "trees",
    syntax: "proto3",
    messageType: [
      {
        name: "Tree",
        field: [{ name: "child", number: 1, type: Type.MESSAGE, typeName: ".trees.Tree" }],
      },
    ],
    service: [
      {
        name: "Trees",
        method: [{ name: "Echo", inputType: ".trees.Tree", outputType: ".trees.Tree" }],
      },
    ],
  });
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
  return registry.getService("trees.Trees") as DescService;
}

interface Options {
  readonly client?: BinaryOptions;
  readonly server?: BinaryOptions;
  readonly route?: BinaryOptions;
  readonly once?: boolean;
}

async function world({ client, server, route, once }: Options) {
  const echo = (request: Tree) =>
    once ? encodedOnce(tree, request as MessageInitShape<DescMessage>) : request;
  const setup: Setup = {
    server: {
      routes: (router) =>
        router.service(service, { echo } as never, route && { binaryOptions: route }),
      ...(server && { binaryOptions: server }),
    },
    transport: client === undefined ? {} : { binaryOptions: client },
  };
  const started = await start(setup);
  const greeter = createClient(service, started.transport);
  return {
    url: started.url,
    // The client of a service that is known only at run time has no methods by its type.
    echo: (greeter as unknown as { echo(request: Tree): Promise<Tree> }).echo,
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

/** A tree of `depth` trees within each other. */
function deep(depth: number): Tree {
  let tree: Tree = {};
  for (let n = 1; n < depth; n++) tree = { child: tree };
  return tree;
}

function depthOf(tree: Tree): number {
  return tree.child === undefined ? 1 : 1 + depthOf(tree.child as Tree);
}

test.each<[string, Options, limit: number]>([
  ["none is set", {}, 101],
  ["the server sets one", { server: { recursionLimit: 7 } }, 7],
  ["the route sets one", { route: { recursionLimit: 7 } }, 7],
  [
    "the route sets one over the server's",
    { server: { recursionLimit: 3 }, route: { recursionLimit: 7 } },
    7,
  ],
  ["the transport sets one", { client: { recursionLimit: 7 } }, 7],
  ["all set a high one", { server: { recursionLimit: 300 }, client: { recursionLimit: 300 } }, 300],
])("messages within each other are read up to recursionLimit if %s", async (_, options, limit) => {
  await using trees = await world(options);
  expect(depthOf(await trees.echo(deep(limit)))).toBe(limit);
  const error = await failureOf(trees.echo(deep(limit + 1)));
  expect(error.code).toBe(Code.Internal);
  expect(error.rawMessage).toMatch(
    new RegExp(`trees\\.Tree could not be decoded: .* deeper than recursionLimit ${limit}`),
  );
  expect(depthOf(await trees.echo(deep(2)))).toBe(2);
});

const unknown = [{ no: 1000, wireType: 0, data: Uint8Array.of(5) }];

test.each<[string, Options, kept: boolean]>([
  ["kept by default", {}, true],
  ["kept in a message that is encoded once", { once: true }, true],
  ["not read by a server that says so", { server: { readUnknownFields: false } }, false],
  ["not read by a route that says so", { route: { readUnknownFields: false } }, false],
  ["not written by a route that says so", { route: { writeUnknownFields: false } }, false],
  [
    "not written in a message that is encoded once",
    { once: true, route: { writeUnknownFields: false } },
    false,
  ],
  ["not read by a transport that says so", { client: { readUnknownFields: false } }, false],
  ["not written by a transport that says so", { client: { writeUnknownFields: false } }, false],
])("unknown fields are %s", async (_, options, kept) => {
  await using trees = await world(options);
  const child = create(tree);
  child.$unknown = unknown;
  const request = create(tree, { child } as MessageInitShape<DescMessage>);
  request.$unknown = unknown;
  const answer = await trees.echo(request as Tree);
  const expected = kept ? unknown : undefined;
  expect([answer.$unknown, (answer.child as Tree).$unknown]).toEqual([expected, expected]);
});

test("the binary options of the server apply to the Connect protocol too", async () => {
  await using trees = await world({ server: { recursionLimit: 7 } });
  const transport = createConnectTransport({ baseUrl: trees.url, httpVersion: "1.1" });
  const { echo } = createStockClient(service, transport) as unknown as Pick<typeof trees, "echo">;
  expect(depthOf(await echo(deep(7)))).toBe(7);
  await expect(echo(deep(8))).rejects.toThrow(/recursion depth of 7/);
});

test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])(
  "a recursionLimit of %d is refused",
  (recursionLimit) => {
    const binaryOptions = { recursionLimit };
    const said = /binaryOptions\.recursionLimit is .*: a number above 0 is needed/;
    expect(() => createTransport({ baseUrl: "http://127.0.0.1:1", binaryOptions })).toThrow(said);
    expect(() => createServer({ routes: () => {}, binaryOptions })).toThrow(said);
    const routes = (router: Parameters<Parameters<typeof createServer>[0]["routes"]>[0]) =>
      router.service(service, {}, { binaryOptions });
    expect(() => createServer({ routes })).toThrow(said);
  },
);
