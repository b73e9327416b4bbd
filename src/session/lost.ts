import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  SessionLost_Reason as Reason,
  type SessionLost,
  SessionLostSchema,
} from "../../gen/hawser/v1/session_pb.js";
import { peerFailure } from "../failure.ts";

export { SessionLost_Reason as Reason } from "../../gen/hawser/v1/session_pb.js";

const MEANING: Record<Reason, string> = {
  [Reason.UNSPECIFIED]: "for a reason that this version does not know",
  [Reason.UNKNOWN]: "the server does not know it: it has ended there, or never began",
  [Reason.EXPIRED]: "it was without a connection for longer than the server's grace",
  [Reason.TAKEN_OVER]: "a later attachment took it over",
  [Reason.GAP]: "messages that the other side still needs are no longer kept",
  [Reason.NOT_YOURS]: "another caller started it",
  [Reason.SERVER_RESTARTED]:
    "another server process answered, which does not have it: the server was restarted, or a balancer chose another server; behind a balancer hash on the header hawser-session",
  [Reason.UNREACHABLE]: "the server could not be reached for as long as it keeps sessions",
  [Reason.PROTOCOL_ERROR]: "the other side broke the rules of the session protocol",
};

/**
 * The error of a call whose session is lost: INVALID_ARGUMENT if a side broke
 * the rules, else ABORTED; with a SessionLost among its details.
 *
 * @param arrived how many messages of the side that gets the error are known to have arrived
 * @param what what happened; default: the meaning of the reason
 */
export function sessionLost(reason: Reason, arrived: number, what?: string): ConnectError {
  const meaning = MEANING[reason] ?? MEANING[Reason.UNSPECIFIED];
  const count = `${arrived} ${arrived === 1 ? "message is" : "messages are"} known to have arrived`;
  const error = peerFailure(
    reason === Reason.PROTOCOL_ERROR ? Code.InvalidArgument : Code.Aborted,
    `the session was lost: ${what ?? meaning} (${count})`,
  );
  const value = create(SessionLostSchema, { reason, arrived: BigInt(arrived) });
  error.details.push({ desc: SessionLostSchema, value });
  return error;
}

/** Returns the name of the reason, "EXPIRED"; `undefined` if `error` is not the loss of a session. */
export function lossName(error: unknown): string | undefined {
  const lost = readSessionLost(error);
  return lost && (Reason[lost.reason] ?? Reason[Reason.UNSPECIFIED]);
}

/** Returns why a session was lost; `undefined` if `error` is not the loss of a session. */
export function readSessionLost(error: unknown): SessionLost | undefined {
  return error instanceof ConnectError ? error.findDetails(SessionLostSchema)[0] : undefined;
}
