import { type DescMethod, hasOption } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { resume } from "../../gen/hawser/v1/resume_pb.js";

/** Whether calls of a method continue at another server where this one ends them: the method declares hawser.v1.resume. */
export function canMove(method: DescMethod): boolean {
  return hasOption(method, resume);
}

/** The error with which such a call ends when its server begins to drain: its client continues elsewhere at once. */
export function serverClosing(): ConnectError {
  return new ConnectError("the server is closing: continue at another one", Code.Unavailable, {
    "grpc-retry-pushback-ms": "0",
  });
}
