import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { Interceptor, MethodImplSpec } from "@connectrpc/connect";
import { transformInvokeImplementation } from "@connectrpc/connect/protocol";
import { checkResponses } from "./check-responses.ts";
import { type CallContext, whole } from "./context.ts";
import { exactlyOne } from "./exactly-one.ts";

type Requests<I extends DescMessage> = AsyncIterableIterator<MessageShape<I>, undefined>;

/** The result of a handler: one response, or an iterable of responses. */
export type HandlerResult<O extends DescMessage> =
  | { readonly one: MessageInitShape<O> }
  | { readonly many: AsyncIterable<MessageInitShape<O>> };

/** The parameters of a handler's run. */
export interface Invocation<I extends DescMessage> {
  readonly context: CallContext;
  readonly requests: Requests<I>;
  readonly interceptors: Interceptor[];
}

/** Runs a handler of any kind; it is given its requests as an iterable. */
export async function invoke<I extends DescMessage, O extends DescMessage>(
  spec: MethodImplSpec<I, O>,
  { context, requests, interceptors }: Invocation<I>,
): Promise<HandlerResult<O>> {
  if (interceptors.length > 0) {
    const checked = checkResponses(spec);
    return { many: transformInvokeImplementation(checked, whole(context), interceptors)(requests) };
  }
  switch (spec.kind) {
    case "unary":
      return { one: await spec.impl(await single(requests, spec.kind), context) };
    case "server_streaming":
      return { many: spec.impl(await single(requests, spec.kind), context) };
    case "client_streaming":
      return { one: await spec.impl(requests, context) };
    case "bidi_streaming":
      return { many: spec.impl(requests, context) };
  }
}

/** Reads the request of a call that has exactly one. */
function single<T>(requests: AsyncIterableIterator<T, undefined>, kind: string): Promise<T> {
  return exactlyOne(() => requests.next(), "request", `a ${kind} call`);
}
