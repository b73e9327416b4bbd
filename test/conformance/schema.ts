import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createFileRegistry, createRegistry, fromBinary, type Message } from "@bufbuild/protobuf";
import type { GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import { type Any, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/**
 * The contract of the conformance suite: descriptors read at run time from the image that run.ts
 * builds (the suite's .proto files are not ours to commit), with the shapes we use written out here.
 */

export const image = join(import.meta.dirname, "../../.cache/conformance/image.binpb");

const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(image)));

const PACKAGE = "connectrpc.conformance.v1";

type Shape<Name extends string, Fields> = Message<`${typeof PACKAGE}.${Name}`> & Fields;

/** `case` names the member that is set; undefined where none is. */
type OneOf<Members> =
  | { [Name in keyof Members]: { case: Name; value: Members[Name] } }[keyof Members]
  | { case: undefined; value?: undefined };

function message<T extends Message>(name: string): GenMessage<T> {
  const schema = files.getMessage(`${PACKAGE}.${name}`);
  if (schema === undefined) throw new Error(`no message ${PACKAGE}.${name} in ${image}`);
  return schema as unknown as GenMessage<T>;
}

// What both programs speak of

export type Header = Shape<"Header", { name: string; value: string[] }>;

/** Codes have the numbers of Connect's `Code`. */
export type RpcError = Shape<"Error", { code: number; message?: string; details: Any[] }>;

export type RequestInfo = Shape<
  "ConformancePayload.RequestInfo",
  { requestHeaders: Header[]; timeoutMs?: bigint; requests: Any[] }
>;

export type Payload = Shape<
  "ConformancePayload",
  { data: Uint8Array; requestInfo?: RequestInfo | undefined }
>;

export const HeaderSchema = message<Header>("Header");
export const RpcErrorSchema = message<RpcError>("Error");
export const RequestInfoSchema = message<RequestInfo>("ConformancePayload.RequestInfo");
export const PayloadSchema = message<Payload>("ConformancePayload");

// The service under test

export type UnaryDefinition = Shape<
  "UnaryResponseDefinition",
  {
    responseHeaders: Header[];
    response: OneOf<{ responseData: Uint8Array; error: RpcError }>;
    responseTrailers: Header[];
    responseDelayMs: number;
  }
>;

export type StreamDefinition = Shape<
  "StreamResponseDefinition",
  {
    responseHeaders: Header[];
    responseData: Uint8Array[];
    responseDelayMs: number;
    error?: RpcError;
    responseTrailers: Header[];
  }
>;

type Request<Name extends string, Definition> = GenMessage<
  Shape<Name, { responseDefinition?: Definition; requestData: Uint8Array }>
>;
type Response<Name extends string> = GenMessage<Shape<Name, { payload?: Payload }>>;

export const ConformanceService = files.getService(
  `${PACKAGE}.ConformanceService`,
) as unknown as GenService<{
  unary: {
    methodKind: "unary";
    input: Request<"UnaryRequest", UnaryDefinition>;
    output: Response<"UnaryResponse">;
  };
  idempotentUnary: {
    methodKind: "unary";
    input: Request<"IdempotentUnaryRequest", UnaryDefinition>;
    output: Response<"IdempotentUnaryResponse">;
  };
  unimplemented: {
    methodKind: "unary";
    input: GenMessage<Shape<"UnimplementedRequest", object>>;
    output: GenMessage<Shape<"UnimplementedResponse", object>>;
  };
  serverStream: {
    methodKind: "server_streaming";
    input: Request<"ServerStreamRequest", StreamDefinition>;
    output: Response<"ServerStreamResponse">;
  };
  clientStream: {
    methodKind: "client_streaming";
    input: Request<"ClientStreamRequest", UnaryDefinition>;
    output: Response<"ClientStreamResponse">;
  };
  bidiStream: {
    methodKind: "bidi_streaming";
    input: GenMessage<
      Shape<
        "BidiStreamRequest",
        { responseDefinition?: StreamDefinition; fullDuplex: boolean; requestData: Uint8Array }
      >
    >;
    output: Response<"BidiStreamResponse">;
  };
}>;

/** The registry for writing the requests that the service echoes as google.protobuf.Any in JSON. */
export const requestTypes = createRegistry(
  ...ConformanceService.methods.map(({ input }) => input),
  RequestInfoSchema,
);

// What the runner asks of the programs, and what they answer

export type TlsCredentials = Shape<"TLSCreds", { cert: Uint8Array; key: Uint8Array }>;

export const Compression = { gzip: 2 } as const;
export const StreamType = { fullDuplex: 5 } as const;

export type ClientRequest = Shape<
  "ClientCompatRequest",
  {
    testName: string;
    compression: number;
    host: string;
    port: number;
    serverTlsCert: Uint8Array;
    clientTlsCreds?: TlsCredentials;
    messageReceiveLimit: number;
    service?: string;
    method?: string;
    streamType: number;
    requestHeaders: Header[];
    requestMessages: Any[];
    timeoutMs?: number;
    requestDelayMs: number;
    cancel?: Shape<
      "ClientCompatRequest.Cancel",
      {
        cancelTiming: OneOf<{
          beforeCloseSend: Message;
          afterCloseSendMs: number;
          afterNumResponses: number;
        }>;
      }
    >;
  }
>;

export type CallResult = Shape<
  "ClientResponseResult",
  {
    responseHeaders: Header[];
    payloads: Payload[];
    error?: RpcError;
    responseTrailers: Header[];
    numUnsentRequests: number;
  }
>;

export const ClientRequestSchema = message<ClientRequest>("ClientCompatRequest");
export const CallResultSchema = message<CallResult>("ClientResponseResult");
export const ClientAnswerSchema =
  message<
    Shape<
      "ClientCompatResponse",
      {
        testName: string;
        result: OneOf<{
          response: CallResult;
          error: Shape<"ClientErrorResult", { message: string }>;
        }>;
      }
    >
  >("ClientCompatResponse");

export const ServerRequestSchema =
  message<
    Shape<
      "ServerCompatRequest",
      {
        useTls: boolean;
        clientTlsCert: Uint8Array;
        messageReceiveLimit: number;
        serverCreds?: TlsCredentials;
      }
    >
  >("ServerCompatRequest");
export const ServerAnswerSchema =
  message<Shape<"ServerCompatResponse", { host: string; port: number; pemCert: Uint8Array }>>(
    "ServerCompatResponse",
  );
