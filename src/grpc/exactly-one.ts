import { Code } from "@connectrpc/connect";
import { peerFailure } from "../failure.ts";

/**
 * Reads the only request, or the only response, of a call. Throws UNIMPLEMENTED if no message came, or two (gRPC
 * statuscodes.md, "cardinality violation"); the caller must then end the iteration.
 *
 * @param next returns the next message
 * @param call the call, as the error names it
 */
export async function exactlyOne<T>(
  next: () => Promise<IteratorResult<T, unknown>>,
  what: "request" | "response",
  call: string,
): Promise<T> {
  const first = await next();
  if (first.done === true) throw violation(`no ${what}`, call);
  const second = await next();
  if (second.done !== true) throw violation(`more than one ${what}`, call);
  return first.value;
}

function violation(got: string, call: string) {
  return peerFailure(Code.Unimplemented, `protocol error: ${call} got ${got}; it has just one`);
}
