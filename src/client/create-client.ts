import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, makeAnyClient, type Transport } from "@connectrpc/connect";
import { asFailure, failure } from "../failure.ts";
import { one } from "../flow/pump.ts";
import { isWith, wrong } from "../options.ts";
import { type CallOptions, refusalOf } from "./call-options.ts";
import { withMethod } from "./method-of.ts";
import { unaryOpener } from "./open-call.ts";
import { refuseResumption, resumptionOf } from "./resume.ts";
import { ResumingCall } from "./resuming-call.ts";
import { type Duplex, type ServerStream, type Sink, StreamingCall } from "./streaming-call.ts";

type Req<I extends DescMessage> = MessageInitShape<I>;
type Res<O extends DescMessage> = MessageShape<O>;

/** One request, one response. */
export type UnaryCall<I extends DescMessage, O extends DescMessage> = (
  request: Req<I>,
  options?: CallOptions,
) => Promise<Res<O>>;

/** One request, many responses. */
export type ServerStreamingCall<I extends DescMessage, O extends DescMessage> = (
  request: Req<I>,
  options?: CallOptions,
) => ServerStream<Res<O>>;

/** Many requests, one response: sent one by one, or from an iterable. */
export interface ClientStreamingCall<I extends DescMessage, O extends DescMessage> {
  (options?: CallOptions): Sink<Req<I>, Res<O>>;
  (requests: AsyncIterable<Req<I>>, options?: CallOptions): Promise<Res<O>>;
}

/** Many requests, many responses: sent one by one, or from an iterable. */
export interface BidirectionalCall<I extends DescMessage, O extends DescMessage> {
  (options?: CallOptions): Duplex<Req<I>, Res<O>>;
  (requests: AsyncIterable<Req<I>>, options?: CallOptions): ServerStream<Res<O>>;
}

/** A function for each method of a service, typed by its descriptor. */
export type Client<Desc extends DescService> = {
  [P in keyof Desc["method"]]: Desc["method"][P] extends DescMethodUnary<infer I, infer O>
    ? UnaryCall<I, O>
    : Desc["method"][P] extends DescMethodServerStreaming<infer I, infer O>
      ? ServerStreamingCall<I, O>
      : Desc["method"][P] extends DescMethodClientStreaming<infer I, infer O>
        ? ClientStreamingCall<I, O>
        : Desc["method"][P] extends DescMethodBiDiStreaming<infer I, infer O>
          ? BidirectionalCall<I, O>
          : never;
};

/**
 * Makes a typed client of a service. It works on any Connect Transport; calls start when they are made, and every
 * failure is a ConnectError. Throws INVALID_ARGUMENT if an argument is not a service or a transport, or if a method's
 * option hawser.v1.resume is not valid.
 */
export function createClient<Desc extends DescService>(
  service: Desc,
  transport: Transport,
): Client<Desc> {
  checkArguments(service, transport);
  return makeAnyClient(service, (method) => {
    if (method.methodKind !== "server_streaming") refuseResumption(method);
    switch (method.methodKind) {
      case "unary":
        return withMethod(unary(transport, method), method);
      case "server_streaming":
        return withMethod(serverStreaming(transport, method), method);
      case "client_streaming":
        return withMethod(
          streaming(transport, method, (call) => call.finish()),
          method,
        );
      case "bidi_streaming":
        return withMethod(
          streaming(transport, method, (call) => call),
          method,
        );
    }
  }) as Client<Desc>;
}

function checkArguments(service: unknown, transport: unknown): void {
  if (isTransport(service) && isService(transport)) {
    throw failure(
      Code.InvalidArgument,
      "createClient: the arguments are swapped: createClient(service, transport) is needed",
    );
  }
  const place = { of: "createClient", option: "service" };
  if (!isService(service)) throw wrong(place, service, "a service of the generated code");
  if (isTransport(transport)) return;
  throw wrong({ ...place, option: "transport" }, transport, "what createTransport() gave");
}

function isService(value: unknown): boolean {
  return (value as Partial<DescService> | null | undefined)?.kind === "service";
}

function isTransport(value: unknown): boolean {
  return isWith(value, ["unary", "stream"]);
}

function serverStreaming<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: DescMethodServerStreaming<I, O>,
): ServerStreamingCall<I, O> {
  const resumption = resumptionOf(method);
  if (resumption === undefined) {
    return (request, options) =>
      new StreamingCall(transport, method, { requests: one(request), options });
  }
  return (request, options) =>
    new ResumingCall(transport, { method, resumption }, { request, options });
}

function unary<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: DescMethodUnary<I, O>,
): UnaryCall<I, O> {
  const open = unaryOpener(transport, method);
  return (request, options) => {
    if (options === undefined) {
      return open({ request, signal: undefined, timeoutMs: undefined }, messageOf);
    }
    const refusal = refusalOf(options, method);
    if (refusal !== undefined) return Promise.reject(refusal);
    const { signal, timeoutMs, onHeader, onTrailer } = options;
    const init = { ...options, signal, timeoutMs, request };
    if (onHeader === undefined && onTrailer === undefined) return open(init, messageOf);
    return open(init, (response) => {
      options.onHeader?.(response.header);
      options.onTrailer?.(response.trailer);
      return response.message;
    }).catch(throwFailure);
  };
}

function messageOf<Message>({ message }: { readonly message: Message }): Message {
  return message;
}

/** The caller's onHeader and onTrailer may throw any value. */
function throwFailure(error: unknown): never {
  throw asFailure(error);
}

type RequestIterable<I extends DescMessage> = AsyncIterable<Req<I>>;

/**
 * Makes the function for a method with many requests: the caller sends them one by one, or passes an iterable.
 * `resultOf` makes what the function returns for an iterable.
 */
function streaming<I extends DescMessage, O extends DescMessage, Result>(
  transport: Transport,
  method: DescMethodStreaming<I, O>,
  resultOf: (call: StreamingCall<I, O>) => Result,
) {
  return (first?: RequestIterable<I> | CallOptions, second?: CallOptions) => {
    if (first === undefined || !isAsyncIterable(first)) {
      return new StreamingCall(transport, method, { options: first });
    }
    return resultOf(new StreamingCall(transport, method, { requests: first, options: second }));
  };
}

function isAsyncIterable<T>(value: AsyncIterable<T> | CallOptions): value is AsyncIterable<T> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}
