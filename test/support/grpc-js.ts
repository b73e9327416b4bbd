/** @grpc/grpc-js over the descriptors of protobuf-es. */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import * as grpc from "@grpc/grpc-js";

/** A service as grpc-js wants it; the methods have their names in TypeScript. */
export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, define(method)]));
}

function define(method: DescMethod): MethodDefinition<unknown, unknown> {
  const { input, output, methodKind, parent, name } = method;
  return {
    path: `/${parent.typeName}/${name}`,
    requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
    responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
    requestSerialize: serializer(input),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: serializer(output),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
}

function serializer(schema: DescMessage): (value: unknown) => Buffer {
  return (value) => {
    const message = create(schema, value as MessageInitShape<DescMessage>);
    return Buffer.from(toBinary(schema, message));
  };
}

/** A typed client would need types made for grpc-js: the calls say what they return. */
export function grpcJsClient<Desc extends DescService>(
  service: Desc,
  address: string,
  options?: grpc.ClientOptions,
  credentials = grpc.credentials.createInsecure(),
): GrpcJsClient<Desc> {
  const Client = grpc.makeClientConstructor(serviceDefinition(service), service.typeName);
  return new Client(address, credentials, options) as unknown as GrpcJsClient<Desc>;
}

export type GrpcJsClient<Desc extends DescService> = grpc.Client & {
  [M in keyof Desc["method"]]: CallFunction;
};

// biome-ignore lint/suspicious/noExplicitAny: grpc-js has four signatures for it, by the kind of the method
type CallFunction = (...args: any[]) => any;

/** Metadata from pairs; a name may come twice, and one that ends in -bin has Buffers. */
export function metadataOf(...pairs: [name: string, value: string | Buffer][]): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of pairs) metadata.add(name, value);
  return metadata;
}

/** The google.rpc.Status that travels as grpc-status-details-bin. */
export function encodeStatus(code: number, message: string, details: Any[]): Buffer {
  const writer = new BinaryWriter();
  writer.uint32((1 << 3) | WireType.Varint).int32(code);
  writer.uint32((2 << 3) | WireType.LengthDelimited).string(message);
  for (const detail of details) {
    writer.uint32((3 << 3) | WireType.LengthDelimited).bytes(toBinary(AnySchema, detail));
  }
  return Buffer.from(writer.finish());
}

export function decodeStatus(bytes: Uint8Array): { code: number; message: string; details: Any[] } {
  const status = { code: 0, message: "", details: [] as Any[] };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) status.code = reader.int32();
    else if (field === 2) status.message = reader.string();
    else if (field === 3) status.details.push(fromBinary(AnySchema, reader.bytes()));
    else reader.skip(type);
  }
  return status;
}
