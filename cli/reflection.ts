import {
  createFileRegistry,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  type CallOptions,
  Code,
  ConnectError,
  createClient,
  type Duplex,
  type Transport,
} from "hawser";
import {
  type ServerReflectionRequestSchema,
  type ServerReflectionResponseSchema,
  ServerReflection as V1,
} from "hawser/gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as Alpha } from "hawser/gen/grpc/reflection/v1alpha/reflection_pb.js";
import type { Contract } from "./contract.ts";

/** The two versions differ in the names of their packages alone. */
const VERSIONS: readonly (typeof V1)[] = [V1, Alpha as unknown as typeof V1];

type Request = MessageInitShape<typeof ServerReflectionRequestSchema>;
type Question = NonNullable<Request["messageRequest"]>;
type Answer = MessageShape<typeof ServerReflectionResponseSchema>["messageResponse"];

/**
 * The contract of a server, by its reflection (gRPC doc/server-reflection.md): v1, or v1alpha of a server that has no other.
 * It asks on one stream, which is open until it is disposed.
 */
export class ReflectedContract implements Contract, AsyncDisposable {
  readonly source = "the server";
  readonly #stream: Duplex<Request, MessageShape<typeof ServerReflectionResponseSchema>>;
  readonly #answers: AsyncIterator<MessageShape<typeof ServerReflectionResponseSchema>>;

  /** Asks the server for its services. Throws UNIMPLEMENTED, with the remedy, if it has no reflection. */
  static async open(transport: Transport, options: CallOptions): Promise<ReflectedContract> {
    for (const version of VERSIONS) {
      const contract = new ReflectedContract(version, transport, options);
      try {
        await contract.serviceNames();
        return contract;
      } catch (error) {
        await contract[Symbol.asyncDispose]();
        if (ConnectError.from(error).code !== Code.Unimplemented) throw error;
      }
    }
    throw new ConnectError(
      "the server has no reflection: say with --proto where its .proto files are",
      Code.FailedPrecondition,
    );
  }

  private constructor(version: typeof V1, transport: Transport, options: CallOptions) {
    const client = createClient(version, transport);
    this.#stream = client.serverReflectionInfo({ ...options, sessions: false });
    this.#answers = this.#stream[Symbol.asyncIterator]();
  }

  async serviceNames(): Promise<readonly string[]> {
    const answer = await this.#ask({ case: "listServices", value: "*" });
    if (answer.case !== "listServicesResponse") throw unexpected(answer);
    return answer.value.service.map(({ name }) => name).sort();
  }

  async describe(name: string) {
    const files = await this.#ask({ case: "fileContainingSymbol", value: name });
    if (isNotFound(files)) return undefined;
    const known = new Map<string, FileDescriptorProto>();
    const file = add(known, files).find((one) => declares(one, name));
    // The name of a message or of an enum is a symbol, too.
    if (file === undefined) return undefined;
    // A server may leave out the files that it has sent before, and those that a file imports.
    for (const { dependency } of known.values()) {
      for (const path of dependency) {
        if (!known.has(path)) add(known, await this.#ask({ case: "fileByFilename", value: path }));
      }
    }
    const registry = createFileRegistry(file, (path) => known.get(path));
    const service = registry.getService(name);
    return service && { service, registry };
  }

  async #ask(messageRequest: Question): Promise<Answer> {
    // If the call has ended, the error comes from the answers.
    await this.#stream.send({ messageRequest }).catch(() => {});
    const { value, done } = await this.#answers.next();
    if (done) throw new ConnectError("the server ended its reflection early", Code.Unknown);
    return value.messageResponse;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream[Symbol.asyncDispose]();
  }
}

function declares({ package: prefix, service }: FileDescriptorProto, name: string): boolean {
  return service.some((one) => (prefix === "" ? one.name : `${prefix}.${one.name}`) === name);
}

/** Adds the files of an answer, and returns them. */
function add(known: Map<string, FileDescriptorProto>, answer: Answer): FileDescriptorProto[] {
  if (answer.case !== "fileDescriptorResponse") throw unexpected(answer);
  const files = answer.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
  for (const file of files) known.set(file.name, file);
  return files;
}

function isNotFound(answer: Answer): boolean {
  return answer.case === "errorResponse" && answer.value.errorCode === Code.NotFound;
}

function unexpected(answer: Answer): ConnectError {
  if (answer.case !== "errorResponse") {
    return new ConnectError(`the server's reflection answered with ${answer.case}`, Code.Unknown);
  }
  const { errorMessage, errorCode } = answer.value;
  return new ConnectError(`the server's reflection says: ${errorMessage}`, errorCode);
}
