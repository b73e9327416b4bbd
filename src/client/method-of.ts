import type { DescMethod } from "@bufbuild/protobuf";

/** Where a function of a client keeps its method. */
const METHOD = Symbol("hawser.method");

/** Has a function of a client say which method it calls, for hawser/react. Returns the function. */
export function withMethod<Call extends object>(call: Call, method: DescMethod): Call {
  return Object.assign(call, { [METHOD]: method });
}

/** Returns the method that a function calls; `undefined` if it is not one of a client. */
export function methodOf(call: unknown): DescMethod | undefined {
  return typeof call === "function" ? (call as { [METHOD]?: DescMethod })[METHOD] : undefined;
}
