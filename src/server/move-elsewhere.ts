import { type DescMethod, hasOption } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { resume } from "../../gen/hawser/v1/resume_pb.js";

/** Whether calls of a method continue at another server if this one ends them: the method declares hawser.v1.resume. */
export function canMove(method: DescMethod): boolean {
  return hasOption(method, resume);
}

/**
 * Makes the error that ends such a call when its server begins to drain. Its client continues at another server without
 * a pause.
 */
export function serverClosing(): ConnectError {
  return new ConnectError("the server is closing: continue at another one", Code.Unavailable, {
    "grpc-retry-pushback-ms": "0",
  });
}
