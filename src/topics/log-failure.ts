import { type Code, ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";

/**
 * What the operator of a server is told of a failure of its log: paths, addresses,
 * remedies. It is the `cause` of the error that goes to clients, which must not
 * see any of that.
 */
class OperatorDetail extends Error {}

/** A failure of a log: handlers throw it as it is, and clients get the text `forClients` alone. */
export function logFailure(
  code: Code,
  { forClients, forOperator }: { forClients: string; forOperator: string },
  cause?: unknown,
): ConnectError {
  return failure(code, forClients, new OperatorDetail(forOperator, { cause }));
}

/** What the operator alone is told of an error; `undefined` where the error itself says all. */
export function operatorDetail(error: unknown): string | undefined {
  const cause = error instanceof ConnectError ? error.cause : undefined;
  return cause instanceof OperatorDetail ? cause.message : undefined;
}

/** The error for the caller that opens a log, which is its operator: with the operator's text as its message. */
export function toOperator(error: ConnectError): ConnectError {
  const { cause } = error;
  return cause instanceof OperatorDetail
    ? failure(error.code, cause.message, cause.cause ?? undefined)
    : error;
}
