import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { Interceptor, MethodImplSpec } from "@connectrpc/connect";
import { transformInvokeImplementation } from "@connectrpc/connect/protocol";
import { checkResponses } from "./check-responses.ts";
import { type CallContext, whole } from "./context.ts";

/** The result of a handler: one response, or an iterable of responses. */
export type HandlerResult<O extends DescMessage> =
  | { readonly one: MessageInitShape<O> | Promise<MessageInitShape<O>> }
  | { readonly many: AsyncIterable<MessageInitShape<O>> };

/** What a handler is given beside its context: its only request (see takesOneRequest), or its requests as an iterable. */
export type Requests<I extends DescMessage> =
  | { readonly only: MessageShape<I> }
  | AsyncIterableIterator<MessageShape<I>, undefined>;

/** The parameters of a handler's run. */
export interface Invocation<I extends DescMessage> {
  readonly context: CallContext;
  readonly requests: Requests<I>;
  readonly interceptors: Interceptor[];
}

/** Whether a handler is given its only request. Interceptors are given an iterable, whatever the kind of the call. */
export function takesOneRequest(
  kind: MethodImplSpec["kind"],
  interceptors: readonly Interceptor[],
): boolean {
  return interceptors.length === 0 && (kind === "unary" || kind === "server_streaming");
}

/** Runs a handler of any kind. Throws what it throws. */
export function invoke<I extends DescMessage, O extends DescMessage>(
  spec: MethodImplSpec<I, O>,
  { context, requests, interceptors }: Invocation<I>,
): HandlerResult<O> {
  if ("only" in requests) {
    if (spec.kind === "unary") return { one: spec.impl(requests.only, context) };
    if (spec.kind === "server_streaming") return { many: spec.impl(requests.only, context) };
    throw new Error(`a handler of the kind ${spec.kind} was given one request`);
  }
  if (interceptors.length > 0) {
    const checked = checkResponses(spec);
    return { many: transformInvokeImplementation(checked, whole(context), interceptors)(requests) };
  }
  if (spec.kind === "client_streaming") return { one: spec.impl(requests, context) };
  if (spec.kind === "bidi_streaming") return { many: spec.impl(requests, context) };
  throw new Error(`a handler of the kind ${spec.kind} was given an iterable`);
}

/** Whether a handler has returned a promise of its response. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | null | undefined)?.then === "function";
}
