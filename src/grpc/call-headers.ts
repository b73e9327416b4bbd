/** The option `headers` of a transport and of a call: values, or a function that returns them. */
import { Code, ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { show } from "../options.ts";

/**
 * Headers, or a function without arguments that returns them or a promise of them. The function runs for each call, and
 * again for each further attempt and each further connection of the call, so that a renewed token is sent. If it throws
 * or rejects, the call fails with that ConnectError; any other error becomes the cause of UNKNOWN. In a further attempt
 * UNAVAILABLE counts as a failed attempt, and another one follows; every other error ends the call.
 */
export type CallHeaders = HeadersInit | HeadersFunction;

export type HeadersFunction = () => HeadersInit | Promise<HeadersInit>;

/** Runs the function. If it fails, rejects with a ConnectError. */
export async function runHeaders(headers: HeadersFunction): Promise<HeadersInit> {
  try {
    return await headers();
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const what = error instanceof Error ? error.message : show(error);
    throw failure(Code.Unknown, `the function of the option headers failed: ${what}`, error);
  }
}
