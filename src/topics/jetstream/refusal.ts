import { Code, type ConnectError } from "@connectrpc/connect";
import { logFailure } from "../log-failure.ts";

/** The server's answer to a request that it refuses. */
export interface Refusal {
  readonly code: number;
  readonly err_code: number;
  readonly description: string;
}

/** The codes of refusals that Hawser handles (server/errors.json of nats-server). */
export const REFUSED = {
  noMessage: 10037,
  noStream: 10059,
  nameInUse: 10058,
  wrongSequence: 10071,
  inProcess: 10158,
};

/** The codes for no space: of the account, of the server, of its memory, of its disk. */
const NO_SPACE = [10002, 10023, 10028, 10047];
/** The code for no space or another reason; the description says which. */
const STORE_FAILED = 10077;

/**
 * Converts a refusal to an error of the log. Only the operator gets its description, which may name
 * files of the server.
 */
export function refused({ err_code: code, description }: Refusal): ConnectError {
  const isFull =
    NO_SPACE.includes(code) ||
    (code === STORE_FAILED && /exceeded|no space|insufficient/.test(description));
  return isFull
    ? logFailure(Code.ResourceExhausted, {
        forClients: "the server's log has no room: nothing was stored; send it again later",
        forOperator: `JetStream has no room: ${description}: trim topics, or raise maxBytes or the server's limits`,
      })
    : logFailure(Code.Unavailable, {
        forClients: "the server's log refused this: try again later",
        forOperator: `JetStream refused: ${description} (${code})`,
      });
}

/** Returns the answer. Throws if it is a refusal. */
export function orThrow<T>(answer: T & { error?: Refusal }): T {
  if (answer.error !== undefined) throw refused(answer.error);
  return answer;
}
