import { type DescMethod, hasOption } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { resume } from "../../gen/hawser/v1/resume_pb.js";

/** Whether calls of a method go on at another server where this one ends them: it declares hawser.v1.resume. */
export function canMove(method: DescMethod): boolean {
  return hasOption(method, resume);
}

/** With what such a call ends when its server begins to drain: its client goes on at once, elsewhere. */
export function moveOn(): ConnectError {
  return new ConnectError("the server is closing: go on at another one", Code.Unavailable, {
    "grpc-retry-pushback-ms": "0",
  });
}
