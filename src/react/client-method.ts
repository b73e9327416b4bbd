import type { DescMethod } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { methodOf } from "../client/method-of.ts";
import { failure } from "../failure.ts";

/**
 * Returns the method of a client's function, such as `client.watch`. Throws INVALID_ARGUMENT for any other function: a
 * component that makes one in each render would make a new call in each.
 */
export function clientMethod(
  hook: string,
  call: unknown,
  kind: DescMethod["methodKind"],
): DescMethod {
  const method = methodOf(call);
  if (method?.methodKind === kind) return method;
  const words = kind === "bidi_streaming" ? "bidirectional" : "server-streaming";
  throw failure(
    Code.InvalidArgument,
    `${hook}: a ${words} method of a client is needed, as it is: ${hook}(client.method, …)`,
  );
}
