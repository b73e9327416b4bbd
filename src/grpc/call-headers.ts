/** The option `headers`, of a transport and of a call: values, or a function that says what they are now. */
import { Code, ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { show } from "../options.ts";

/**
 * Headers, or a function without arguments that returns them, or promises them. The function runs for each call and,
 * where a call is attempted again or continues over another connection, for each of these attempts: so that a token
 * that was renewed meanwhile is sent. A call whose function throws or rejects fails with its ConnectError, or with
 * UNKNOWN and the error as its cause. Where the call has begun and another attempt was to follow, UNAVAILABLE counts as
 * a failed attempt, and another one follows; every other error ends the call.
 */
export type CallHeaders = HeadersInit | HeadersFunction;

export type HeadersFunction = () => HeadersInit | Promise<HeadersInit>;

/** Runs a function; where it fails, rejects with a ConnectError. */
export async function runHeaders(headers: HeadersFunction): Promise<HeadersInit> {
  try {
    return await headers();
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const what = error instanceof Error ? error.message : show(error);
    throw failure(Code.Unknown, `the function of the option headers failed: ${what}`, error);
  }
}
