import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { Interceptor, MethodImplSpec } from "@connectrpc/connect";
import { transformInvokeImplementation } from "@connectrpc/connect/protocol";
import { checkResponses } from "./check-responses.ts";
import { type CallContext, whole } from "./context.ts";
import { exactlyOne } from "./exactly-one.ts";

type Requests<I extends DescMessage> = AsyncIterableIterator<MessageShape<I>, undefined>;

/** What a handler answers: one response, or an iterable of them. */
export type Outcome<O extends DescMessage> =
  | { readonly one: MessageInitShape<O> }
  | { readonly many: AsyncIterable<MessageInitShape<O>> };

/** Runs a handler: whatever its kind, requests go in as an iterable. */
export async function invoke<I extends DescMessage, O extends DescMessage>(
  spec: MethodImplSpec<I, O>,
  context: CallContext,
  requests: Requests<I>,
  interceptors: Interceptor[],
): Promise<Outcome<O>> {
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

/** The one request of a call that has just one. */
function single<T>(requests: AsyncIterableIterator<T, undefined>, kind: string): Promise<T> {
  return exactlyOne(() => requests.next(), "request", `a ${kind} call`);
}
