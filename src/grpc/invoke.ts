import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, type Interceptor, type MethodImplSpec } from "@connectrpc/connect";
import { transformInvokeImplementation } from "@connectrpc/connect/protocol";
import { failure } from "../failure.ts";
import type { CallContext } from "./context.ts";

type Requests<I extends DescMessage> = AsyncIterableIterator<MessageShape<I>, undefined>;
type Responses<O extends DescMessage> =
  | AsyncIterable<MessageInitShape<O>>
  | Promise<MessageInitShape<O>>;

/**
 * Runs a handler: whatever its kind, requests go in as an iterable. What comes
 * back is the one response, or the iterable of them.
 */
export function invoke<I extends DescMessage, O extends DescMessage>(
  spec: MethodImplSpec<I, O>,
  context: CallContext,
  requests: Requests<I>,
  interceptors: Interceptor[],
): Responses<O> {
  if (interceptors.length > 0) {
    return transformInvokeImplementation(spec, context, interceptors)(requests);
  }
  switch (spec.kind) {
    case "unary":
      return single(requests, spec.kind).then((request) => spec.impl(request, context));
    case "server_streaming":
      return afterRequest(spec, context, requests);
    case "client_streaming":
      return spec.impl(requests, context);
    case "bidi_streaming":
      return spec.impl(requests, context);
  }
}

async function* afterRequest<I extends DescMessage, O extends DescMessage>(
  spec: MethodImplSpec<I, O> & { kind: "server_streaming" },
  context: CallContext,
  requests: Requests<I>,
): AsyncGenerator<MessageInitShape<O>> {
  yield* spec.impl(await single(requests, spec.kind), context);
}

/** The one request of a call that has just one. */
async function single<T>(requests: AsyncIterableIterator<T, undefined>, kind: string): Promise<T> {
  const first = await requests.next();
  if (first.done === true) {
    throw failure(Code.Unimplemented, `protocol error: a ${kind} call came without a request`);
  }
  const second = await requests.next();
  if (second.done !== true) {
    throw failure(Code.Unimplemented, `protocol error: a ${kind} call came with a second request`);
  }
  return first.value;
}
