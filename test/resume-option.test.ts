/** How createClient() reads the option hawser.v1.resume: right, wrong, or from another copy of its code. */
import {
  create,
  createFileRegistry,
  type DescService,
  getOption,
  type MessageInitShape,
  setExtension,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_descriptor,
  FieldDescriptorProto_Label as Label,
  MethodOptionsSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { Transport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { file_hawser_v1_resume, type ResumeSchema, resume } from "../gen/hawser/v1/resume_pb.js";
import { resumptionOf } from "../src/client/resume.ts";
import { Code, ConnectError, createClient } from "../src/index.ts";

type Option = MessageInitShape<typeof ResumeSchema>;

/** A service of one method, t.Feed.Follow, with the option. */
function serviceWith(option: Option, streams: { client?: boolean; server?: boolean }): DescService {
  const options = create(MethodOptionsSchema);
  setExtension(options, resume, {
    $typeName: "hawser.v1.Resume",
    cursor: "",
    after: "",
    ...option,
  });
  const field = (name: string, number: number, more: object = {}) => ({
    name,
    number,
    type: Type.STRING,
    label: Label.OPTIONAL,
    ...more,
  });
  const fields = [
    field("position_after", 1),
    field("optional_one", 2, { proto3Optional: true, oneofIndex: 1 }),
    field("several", 3, { label: Label.REPEATED }),
    field("count", 4, { type: Type.UINT64 }),
    field("raw", 5, { type: Type.BYTES }),
    field("chosen", 6, { oneofIndex: 0 }),
  ];
  const oneofDecl = [{ name: "one" }, { name: "_optional_one" }];
  const file = create(FileDescriptorProtoSchema, {
    name: "t.proto",
    package: "t",
    syntax: "proto3",
    dependency: ["hawser/v1/resume.proto"],
    messageType: [
      { name: "Ask", field: fields, oneofDecl },
      { name: "Answer", field: fields, oneofDecl },
    ],
    service: [
      {
        name: "Feed",
        method: [
          {
            name: "Follow",
            inputType: ".t.Ask",
            outputType: ".t.Answer",
            clientStreaming: streams.client ?? false,
            serverStreaming: streams.server ?? false,
            options,
          },
        ],
      },
    ],
  });
  const set = create(FileDescriptorSetSchema, {
    file: [file_google_protobuf_descriptor.proto, file_hawser_v1_resume.proto, file],
  });
  return createFileRegistry(set).getService("t.Feed") as DescService;
}

/** No call is made in these tests. */
const transport: Transport = {
  unary: () => Promise.reject(),
  stream: () => Promise.reject(),
};
const pushing = { server: true };

test("the declaration of the rooms' Watch is valid", () => {
  expect(resumptionOf(RoomService.method.watch)).toEqual({ cursor: "cursor", after: "after" });
  expect(resumptionOf(RoomService.method.post)).toBeUndefined();
});

test("the option names fields as in the .proto, and these may be optional", () => {
  const service = serviceWith({ cursor: "optional_one", after: "position_after" }, pushing);
  expect(resumptionOf(service.method.follow!)).toEqual({
    cursor: "optionalOne",
    after: "positionAfter",
  });
  expect(() => createClient(service, transport)).not.toThrow();
});

test.each<[string, Option, string]>([
  ["no field of that name", { cursor: "cursr", after: "position_after" }, 'cursor: "cursr"'],
  ["the name of generated code", { cursor: "position_after", after: "positionAfter" }, "t.Ask"],
  ["a number", { cursor: "count", after: "position_after" }, "t.Answer"],
  ["bytes", { cursor: "position_after", after: "raw" }, "t.Ask"],
  ["a list", { cursor: "several", after: "position_after" }, "t.Answer"],
  ["a member of a oneof", { cursor: "chosen", after: "position_after" }, "t.Answer"],
  ["no cursor", { after: "position_after" }, "no cursor"],
  ["no after", { cursor: "position_after" }, "no after"],
])(
  "%s is refused with the method, the field and the names that are possible",
  (_, option, text) => {
    const error = thrownBy(() => createClient(serviceWith(option, pushing), transport));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain("t.Feed.Follow: its option hawser.v1.resume");
    expect(error.rawMessage).toContain(text);
    if (!text.startsWith("no ")) expect(error.rawMessage).toContain("position_after, optional_one");
  },
);

test.each([
  ["unary", {}],
  ["client-streaming", { client: true }],
  ["bidi-streaming", { client: true, server: true }],
])("a %s method is refused", (kind, streams) => {
  const service = serviceWith({ cursor: "position_after", after: "position_after" }, streams);
  const error = thrownBy(() => createClient(service, transport));
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.rawMessage).toContain(`t.Feed.Follow: its option hawser.v1.resume is for server`);
  expect(error.rawMessage).toContain(kind);
});

test("the option is found although another copy of its code declared it", () => {
  const set = create(FileDescriptorSetSchema, {
    file: [file_google_protobuf_descriptor.proto, file_hawser_v1_resume.proto],
  });
  const copy = createFileRegistry(set).getExtension("hawser.v1.resume");
  expect(copy).not.toBe(resume);
  // What the copy reads is what ours reads: both go by the number.
  expect(getOption(RoomService.method.watch, copy as typeof resume)).toMatchObject({
    cursor: "cursor",
    after: "after",
  });
});

function thrownBy(run: () => unknown): ConnectError {
  try {
    run();
  } catch (error) {
    if (error instanceof ConnectError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
