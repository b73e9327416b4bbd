import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import type { MethodImplSpec } from "@connectrpc/connect";
import { complete } from "../codec/complete.ts";
import { map } from "../flow/pump.ts";

/**
 * Returns a handler whose responses are complete messages. Connect would turn a response that is not a message into an
 * empty message, before interceptors and its own protocols see it; here that is an error of the handler.
 */
export function checkResponses<I extends DescMessage, O extends DescMessage>(
  spec: MethodImplSpec<I, O>,
): MethodImplSpec<I, O> {
  const whole = (response: MessageInitShape<O>) => complete(spec.method.output, response);
  switch (spec.kind) {
    case "unary": {
      const impl: typeof spec.impl = async (request, context) =>
        whole(await spec.impl(request, context));
      return { ...spec, impl };
    }
    case "client_streaming": {
      const impl: typeof spec.impl = async (requests, context) =>
        whole(await spec.impl(requests, context));
      return { ...spec, impl };
    }
    case "server_streaming": {
      const impl: typeof spec.impl = (request, context) => map(spec.impl(request, context), whole);
      return { ...spec, impl };
    }
    case "bidi_streaming": {
      const impl: typeof spec.impl = (requests, context) =>
        map(spec.impl(requests, context), whole);
      return { ...spec, impl };
    }
  }
}
