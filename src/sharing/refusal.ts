import { create } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { peerFailure } from "../failure.ts";
import type { CallerParty } from "./parties.ts";
import type { CallerAccount } from "./shared-limit.ts";

/** When a caller may come again: soon, since a share grows whenever another caller goes. */
const RETRY_MS = 1000;

/** What each limit counts, for errors. */
const COUNTED = {
  calls: "open calls",
  healthCalls: "open calls of grpc.health.v1.Health",
  sessions: "sessions",
  sessionBytes: "B of sessions",
};

/** What a limit refuses to a caller. */
export interface Refused {
  readonly account: CallerAccount;
  /** What is counted: "sessions", "open calls". */
  readonly what: string;
  /** The owner of the limit: "the server". */
  readonly of: string;
  readonly random: () => number;
}

/**
 * Tells of the refusal of a caller: a limit of the server is used up, or the caller's share of it. Returns its error, as
 * refusalError() does.
 */
export function overLimit(
  caller: CallerParty,
  counted: keyof typeof COUNTED,
  random: () => number,
): ConnectError {
  const account = caller[counted];
  account.limit.refuse(caller.who);
  return refusalError({ account, what: COUNTED[counted], of: "the server", random });
}

/**
 * Makes the error of a caller that a limit refuses: the total is used up, or the caller's share of it. It says when to try
 * again, for Hawser's clients, and for others that know gRPC's pushback or google.rpc.RetryInfo.
 */
export function refusalError({ account, what, of, random }: Refused): ConnectError {
  const { limit, held } = account;
  const used = `${of} has ${limit.held} ${what} of ${limit.total} (${limit.name})`;
  const why =
    limit.free < 1
      ? "no more begin now"
      : `${held} of them are this caller's: no more of its own begin now`;
  const retryMs = Math.ceil(RETRY_MS * (1 + random()));
  const error = peerFailure(Code.ResourceExhausted, `${used}; ${why}`);
  error.metadata.set("grpc-retry-pushback-ms", String(retryMs));
  const retryDelay = {
    seconds: BigInt(Math.floor(retryMs / 1000)),
    nanos: (retryMs % 1000) * 1_000_000,
  };
  error.details.push({ desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) });
  return error;
}
