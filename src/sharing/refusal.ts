import { create } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { peerFailure } from "../failure.ts";

/** When a caller may come again: soon, since a share grows whenever another caller goes. */
const RETRY_MS = 1000;

/**
 * Makes the error of a caller that a limit refuses. It says when to try again, for Hawser's clients, and for other ones
 * that know gRPC's pushback or google.rpc.RetryInfo.
 *
 * @param what the numbers, and the name of the limit
 */
export function overLimit(what: string, random: () => number): ConnectError {
  const retryMs = Math.ceil(RETRY_MS * (1 + random()));
  const error = peerFailure(Code.ResourceExhausted, what);
  error.metadata.set("grpc-retry-pushback-ms", String(retryMs));
  const retryDelay = {
    seconds: BigInt(Math.floor(retryMs / 1000)),
    nanos: (retryMs % 1000) * 1_000_000,
  };
  error.details.push({ desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) });
  return error;
}
