import { type Code, ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";

/**
 * The part of a log's failure that is for the operator: paths, addresses, remedies. It is the
 * `cause` of the error that is sent to clients, which must not see any of that.
 */
class OperatorDetail extends Error {}

/** Makes the error of a log's failure. A handler can throw it unchanged: clients get only the text `forClients`. */
export function logFailure(
  code: Code,
  { forClients, forOperator }: { forClients: string; forOperator: string },
  cause?: unknown,
): ConnectError {
  return failure(code, forClients, new OperatorDetail(forOperator, { cause }));
}

/** Returns the operator's part of an error, or `undefined` if it has none. */
export function operatorDetail(error: unknown): string | undefined {
  const cause = error instanceof ConnectError ? error.cause : undefined;
  return cause instanceof OperatorDetail ? cause.message : undefined;
}

/**
 * Converts an error for the caller that opens a log, who is its operator: the message becomes the
 * operator's text.
 */
export function toOperator(error: ConnectError): ConnectError {
  const { cause } = error;
  return cause instanceof OperatorDetail
    ? failure(error.code, cause.message, cause.cause ?? undefined)
    : error;
}
