/** Why a connection was lost, as the errors of its calls say it. */
import { INTERNAL_ERROR, NO_ERROR } from "../http2/frames.ts";

/** Returns the reason of a GOAWAY; `undefined` if it names no error: then it only says that the peer closes. */
export function goawayReason(code: number, debugData: string): string | undefined {
  if (code === NO_ERROR) return undefined;
  const text = debugData === "" ? "" : ` "${debugData}"`;
  return `it sent GOAWAY with HTTP/2 error ${code}${text}`;
}

/** Returns why this side has ended a connection; `undefined` if it did so without an error. */
export function failureReason(
  end: { readonly code: number; readonly reason: string },
  peer: string,
): string | undefined {
  if (end.code === NO_ERROR) return undefined;
  // An error of this side's own code is not the peer's.
  if (end.code === INTERNAL_ERROR) return end.reason;
  return `${peer} broke the HTTP/2 protocol: ${end.reason}`;
}
