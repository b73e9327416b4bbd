/** Server reflection (gRPC doc/server-reflection.md): by it grpcurl, buf curl and others know what a server serves. */
import type { DescFile, DescService } from "@bufbuild/protobuf";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.js";
import {
  type ServerReflectionRequest,
  ServerReflection as V1,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import {
  ServerReflection as Alpha,
  type ServerReflectionRequest as AlphaRequest,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { peerFailure } from "../failure.ts";
import { untilAborted } from "../flow/pump.ts";
import { ReflectedFiles, withImports } from "./reflected-files.ts";

/** The longest request: a name, or a type and a number. */
const READ_MAX_BYTES = 64 * 1024;

/** The two versions differ in the names of their packages alone. */
type Request = ServerReflectionRequest | AlphaRequest;
type Asked = Request["messageRequest"];

/**
 * Registers server reflection, v1 and v1alpha. The interceptors of the server run around it.
 *
 * @param services those that it lists; it describes their files, and what these import
 * @param draining ends the calls: a client may keep its stream open
 */
export function registerReflection(
  router: ConnectRouter,
  services: readonly DescService[],
  draining: AbortSignal,
): void {
  const all = [...services, V1, Alpha];
  // Tools look up what errors have as details.
  const files = new ReflectedFiles(all, [file_google_rpc_error_details]);
  const service = all.map(({ typeName: name }) => ({ name })).sort(byName);
  async function* serverReflectionInfo<R extends Request>(requests: AsyncIterable<R>) {
    const sent = new Set<string>();
    for await (const originalRequest of untilAborted(requests, draining)) {
      const { host: validHost, messageRequest } = originalRequest;
      const messageResponse =
        messageRequest.case === "listServices"
          ? ({ case: "listServicesResponse", value: { service } } as const)
          : answer(messageRequest, files, sent);
      yield { validHost, originalRequest, messageResponse };
    }
  }
  const options = { readMaxBytes: READ_MAX_BYTES };
  router.service(V1, { serverReflectionInfo }, options);
  router.service(Alpha, { serverReflectionInfo }, options);
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

/** @param sent the names of the files that the stream has sent: they are not sent again, unless they are asked for */
function answer(
  asked: Exclude<Asked, { case: "listServices" }>,
  files: ReflectedFiles,
  sent: Set<string>,
) {
  const fileAnswer = (file: DescFile | undefined, what: string) => {
    if (file === undefined) return notFound(what);
    const fileDescriptorProto: Uint8Array[] = [];
    for (const one of withImports(file)) {
      const { name } = one.proto;
      if (one !== file && sent.has(name)) continue;
      sent.add(name);
      fileDescriptorProto.push(files.encode(one));
    }
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto } } as const;
  };
  switch (asked.case) {
    case "fileByFilename":
      return fileAnswer(files.byName(asked.value), `file ${quoted(asked.value)}`);
    case "fileContainingSymbol":
      return fileAnswer(files.bySymbol(asked.value), `symbol ${quoted(asked.value)}`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = asked.value;
      const file = files.extensionsOf(containingType)?.get(extensionNumber);
      return fileAnswer(file, `extension ${extensionNumber} of ${quoted(containingType)}`);
    }
    case "allExtensionNumbersOfType": {
      const extensions = files.extensionsOf(asked.value);
      if (extensions === undefined) return notFound(`message type ${quoted(asked.value)}`);
      const value = { baseTypeName: asked.value, extensionNumber: [...extensions.keys()] };
      return { case: "allExtensionNumbersResponse", value } as const;
    }
    default:
      throw peerFailure(Code.InvalidArgument, "the request of server reflection asks for nothing");
  }
}

function notFound(what: string) {
  const value = { errorCode: Code.NotFound, errorMessage: `the server knows no ${what}` };
  return { case: "errorResponse", value } as const;
}

/** The first characters of a name: its client has it. */
function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 200));
}
