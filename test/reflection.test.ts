/** Server reflection: what grpcurl, buf curl and others are told of a server. */
import {
  create,
  createFileRegistry,
  type DescService,
  type FileRegistry,
  fromBinary,
  getOption,
  toBinary,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { createClient as createStockClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as Alpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { resume } from "../gen/hawser/v1/resume_pb.js";
import { Code } from "../src/index.ts";
import { createServer, type Interceptor } from "../src/server.ts";
import { all, failureOf, next } from "./support/read.ts";
import { recorders } from "./support/recorder.ts";
import { protocols } from "./support/stock-protocols.ts";
import { type Setup, start, type World } from "./support/world.ts";

type Asked = ServerReflectionRequest["messageRequest"];

/** A world whose server has both services of the example. */
function startReflecting({ server, ...setup }: Setup = {}): Promise<World> {
  return start({
    ...setup,
    server: {
      reflection: true,
      routes: (router) => router.service(Greeter, {}).service(RoomService, {}),
      ...server,
    },
  });
}

/** Asks on one stream, each when the answer before has come. */
async function ask(world: World, ...asked: Asked[]): Promise<ServerReflectionResponse[]> {
  const info = world.client(ServerReflection).serverReflectionInfo();
  const answers: ServerReflectionResponse[] = [];
  for (const messageRequest of asked) {
    await info.send({ host: "here", messageRequest });
    answers.push((await next(info)) as ServerReflectionResponse);
  }
  info.closeSend();
  expect(await all(info)).toEqual([]);
  return answers;
}

const file = (value: string): Asked => ({ case: "fileByFilename", value });
const symbol = (value: string): Asked => ({ case: "fileContainingSymbol", value });

/** The files of an answer. */
function filesOf({ messageResponse }: ServerReflectionResponse) {
  if (messageResponse.case !== "fileDescriptorResponse") {
    throw new Error(`the answer is ${messageResponse.case}, and no files`);
  }
  const { fileDescriptorProto } = messageResponse.value;
  return fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

const namesOf = (answer: ServerReflectionResponse) => filesOf(answer).map(({ name }) => name);

/** The files of answers as a registry: it needs each file that another one imports. */
function registryOf(...answers: ServerReflectionResponse[]): FileRegistry {
  const files = answers.flatMap(filesOf);
  const inOrder: typeof files = [];
  const add = (name: string) => {
    const one = files.find((file) => file.name === name);
    if (one === undefined) throw new Error(`no answer has ${name}`);
    for (const dependency of one.dependency) add(dependency);
    if (!inOrder.includes(one)) inOrder.push(one);
  };
  for (const { name } of files) add(name);
  return createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder }));
}

describe("what is served", () => {
  test("the services of the routes are listed, with health and reflection themselves", async () => {
    await using world = await startReflecting({ server: { health: true } });
    const [answer] = await ask(world, { case: "listServices", value: "" });
    expect(answer?.validHost).toBe("here");
    expect(answer?.originalRequest?.messageRequest.case).toBe("listServices");
    expect(answer?.messageResponse).toMatchObject({
      case: "listServicesResponse",
      value: {
        service: [
          { name: "chat.v1.RoomService" },
          { name: "example.Greeter" },
          { name: "grpc.health.v1.Health" },
          { name: "grpc.reflection.v1.ServerReflection" },
          { name: "grpc.reflection.v1alpha.ServerReflection" },
        ],
      },
    });
  });

  test("the file of a service comes with all that it imports, and describes the service completely", async () => {
    await using world = await startReflecting();
    const [answer] = await ask(world, symbol("chat.v1.RoomService"));
    if (answer === undefined) throw new Error("there is no answer");
    expect(namesOf(answer)[0]).toBe("chat/v1/room.proto");
    expect(namesOf(answer)).toContain("hawser/v1/resume.proto");
    expect(namesOf(answer)).toContain("google/protobuf/descriptor.proto");
    expect(new Set(namesOf(answer)).size).toBe(namesOf(answer).length);

    const service = registryOf(answer).getService("chat.v1.RoomService") as DescService;
    expect(service.methods.map(({ name }) => name)).toEqual(
      RoomService.methods.map(({ name }) => name),
    );
    const watch = service.method.watch;
    if (watch === undefined) throw new Error("the service has no Watch");
    expect(getOption(watch, resume)).toMatchObject({ cursor: "cursor", after: "after" });
  });

  test.each([
    ["a service", "example.Greeter", "example/greeter.proto"],
    ["a method", "example.Greeter.Chat", "example/greeter.proto"],
    ["a message", "example.MessageRequest", "example/greeter.proto"],
    ["a field", "example.MessageRequest.content", "example/greeter.proto"],
    ["a nested message", "chat.v1.JoinRequest.Say", "chat/v1/room.proto"],
    ["a oneof", "chat.v1.JoinRequest.event", "chat/v1/room.proto"],
    ["an extension", "hawser.v1.resume", "hawser/v1/resume.proto"],
    ["an enum", "google.protobuf.FieldDescriptorProto.Type", "google/protobuf/descriptor.proto"],
    [
      "a value of an enum, which is named beside it",
      "google.protobuf.FieldDescriptorProto.TYPE_DOUBLE",
      "google/protobuf/descriptor.proto",
    ],
    ["a detail of errors", "google.rpc.RetryInfo", "google/rpc/error_details.proto"],
    [
      "reflection itself",
      "grpc.reflection.v1.ServerReflection",
      "grpc/reflection/v1/reflection.proto",
    ],
  ])("%s is found in the file that declares it", async (_, name, path) => {
    await using world = await startReflecting();
    const [answer] = await ask(world, symbol(name));
    expect(answer && namesOf(answer)[0]).toBe(path);
  });

  test("an extension is found by its number, and the numbers of a type are listed", async () => {
    await using world = await startReflecting();
    const containingType = "google.protobuf.MethodOptions";
    const [extension, numbers, none] = await ask(
      world,
      {
        case: "fileContainingExtension",
        value: {
          $typeName: "grpc.reflection.v1.ExtensionRequest",
          containingType,
          extensionNumber: resume.number,
        },
      },
      { case: "allExtensionNumbersOfType", value: containingType },
      { case: "allExtensionNumbersOfType", value: "example.MessageRequest" },
    );
    expect(extension && namesOf(extension)[0]).toBe("hawser/v1/resume.proto");
    expect(numbers?.messageResponse.value).toMatchObject({
      baseTypeName: containingType,
      extensionNumber: [resume.number],
    });
    expect(none?.messageResponse.value).toMatchObject({ extensionNumber: [] });
  });

  test("an option that the server does not know keeps its bytes", async () => {
    // extend google.protobuf.MethodOptions { bytes note = 50123; }
    const bytes = Uint8Array.of(0xda, 0xbc, 0x18, 3, 1, 2, 3);
    const registry = createFileRegistry(
      create(FileDescriptorSetSchema, {
        file: [
          {
            name: "own/v1/own.proto",
            package: "own.v1",
            syntax: "proto3",
            messageType: [{ name: "Empty" }],
            service: [
              {
                name: "OwnService",
                method: [
                  {
                    name: "Do",
                    inputType: ".own.v1.Empty",
                    outputType: ".own.v1.Empty",
                    options: fromBinary(MethodOptionsSchema, bytes),
                  },
                ],
              },
            ],
          },
        ],
      }),
    );
    const service = registry.getService("own.v1.OwnService") as DescService;
    await using world = await startReflecting({
      server: { routes: (router) => router.service(service, {}) },
    });
    const [answer] = await ask(world, file("own/v1/own.proto"));
    const options = answer && filesOf(answer)[0]?.service[0]?.method[0]?.options;
    expect(options && toBinary(MethodOptionsSchema, options)).toEqual(bytes);
  });

  test("the files of a stream are sent once, unless they are asked for again", async () => {
    await using world = await startReflecting();
    const [first, again, imported, shared] = await ask(
      world,
      file("chat/v1/room.proto"),
      symbol("chat.v1.RoomService"),
      file("hawser/v1/resume.proto"),
      file("example/greeter.proto"),
    );
    expect(first && namesOf(first).length).toBeGreaterThan(3);
    expect(again && namesOf(again)).toEqual(["chat/v1/room.proto"]);
    expect(imported && namesOf(imported)).toEqual(["hawser/v1/resume.proto"]);
    expect(shared && namesOf(shared)).not.toContain("google/protobuf/timestamp.proto");
    // Another stream begins anew.
    const [other] = await ask(world, file("chat/v1/room.proto"));
    expect(other && namesOf(other)).toEqual(first && namesOf(first));
  });

  test("v1alpha has the same answers", async () => {
    await using world = await startReflecting();
    const info = world.client(Alpha).serverReflectionInfo();
    const [expected] = await ask(world, file("chat/v1/room.proto"));
    await info.send({
      host: "there",
      messageRequest: { case: "fileByFilename", value: "chat/v1/room.proto" },
    });
    expect(await next(info)).toMatchObject({
      validHost: "there",
      messageResponse: {
        case: "fileDescriptorResponse",
        value: {
          fileDescriptorProto:
            expected && filesOf(expected).map((file) => toBinary(FileDescriptorProtoSchema, file)),
        },
      },
    });
    info.closeSend();
    expect(await all(info)).toEqual([]);
  });

  test.each(Object.entries(protocols).filter(([name]) => name.includes("HTTP/2")))(
    "%s: it is served",
    async (_, over) => {
      await using server = createServer({
        routes: (router) => router.service(Greeter, {}),
        reflection: true,
      });
      const { url } = await server.listen({ port: 0 });
      async function* requests() {
        yield { messageRequest: file("example/greeter.proto") };
      }
      const info = createStockClient(ServerReflection, over(url)).serverReflectionInfo(requests());
      expect((await all(info)).map((answer) => namesOf(answer)[0])).toEqual([
        "example/greeter.proto",
      ]);
    },
  );
});

describe("what is not there", () => {
  test.each<[string, Asked, string]>([
    ["a file", file("none.proto"), 'file "none.proto"'],
    ["a symbol", symbol("example.Nobody"), 'symbol "example.Nobody"'],
    ["a symbol of a package", symbol("example"), 'symbol "example"'],
    [
      "an extension",
      {
        case: "fileContainingExtension",
        value: {
          $typeName: "grpc.reflection.v1.ExtensionRequest",
          containingType: "google.protobuf.MethodOptions",
          extensionNumber: 7,
        },
      },
      'extension 7 of "google.protobuf.MethodOptions"',
    ],
    [
      "a type",
      { case: "allExtensionNumbersOfType", value: "example.Nobody" },
      'message type "example.Nobody"',
    ],
    [
      "a type that is a service",
      { case: "allExtensionNumbersOfType", value: "example.Greeter" },
      'message type "example.Greeter"',
    ],
    ["a name of a property of every object", symbol("constructor"), 'symbol "constructor"'],
  ])("%s: the answer is an error_response, and the stream continues", async (_, asked, what) => {
    await using world = await startReflecting();
    const [error, more] = await ask(world, asked, symbol("example.Greeter"));
    expect(error?.messageResponse).toMatchObject({
      case: "errorResponse",
      value: { errorCode: Code.NotFound, errorMessage: `the server knows no ${what}` },
    });
    expect(more?.messageResponse.case).toBe("fileDescriptorResponse");
  });

  test("a request that asks for nothing ends the call with INVALID_ARGUMENT", async () => {
    await using world = await startReflecting();
    const info = world.client(ServerReflection).serverReflectionInfo();
    await info.send({});
    expect((await failureOf(info)).code).toBe(Code.InvalidArgument);
  });

  test("a server without the option does not serve it", async () => {
    await using world = await start();
    const info = world.client(ServerReflection).serverReflectionInfo();
    expect((await failureOf(info)).code).toBe(Code.Unimplemented);
  });
});

describe("who is served", () => {
  test("strangers are not, if the server authenticates; and the interceptors run", async () => {
    const intercepted: string[] = [];
    const interceptor: Interceptor = (next) => (request) => {
      intercepted.push(request.method.name);
      return next(request);
    };
    await using world = await startReflecting({
      server: {
        authenticate({ header }) {
          const identity = header.get("x-user");
          if (identity === null) throw new Error("who?");
          return { identity };
        },
        interceptors: [interceptor],
        logger: { error() {} },
      },
    });
    const reflection = world.client(ServerReflection);
    const strange = reflection.serverReflectionInfo();
    expect((await failureOf(strange)).code).toBe(Code.Unauthenticated);
    const info = reflection.serverReflectionInfo({ headers: { "x-user": "ada" } });
    await info.send({ messageRequest: symbol("example.Greeter") });
    expect(await next(info)).toBeDefined();
    expect(intercepted).toEqual(["ServerReflectionInfo"]);
    info.cancel();
  });

  test("its calls are no open calls, have no session, and are not told to an observer", async () => {
    const { server: recorder, setup } = recorders();
    await using world = await startReflecting({
      server: setup.server,
      transport: { sessions: true },
    });
    const info = world.client(ServerReflection).serverReflectionInfo();
    await info.send({ messageRequest: symbol("example.Greeter") });
    expect(await next(info)).toBeDefined();
    expect(info.resumable).toBe(false);
    expect(world.server.openCalls).toBe(0);
    expect(world.server.stats()).toMatchObject({
      calls: { open: 0, started: 0 },
      sessions: { open: 0 },
      limits: { maxOpenCalls: { held: 1 } },
    });
    expect(recorder.of("callStarted")).toEqual([]);
    info.cancel();
  });

  test("close() does not wait for a stream that its client keeps open", async () => {
    await using world = await startReflecting();
    const info = world.client(ServerReflection).serverReflectionInfo();
    await info.send({ messageRequest: symbol("example.Greeter") });
    await next(info);
    await world.server.close({ graceMs: 60_000 });
    expect((await failureOf(info)).code).toBe(Code.Unavailable);
  });
});
