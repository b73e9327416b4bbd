import { Code, ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { isSupported } from "../codec/compression.ts";
import { peerFailure } from "../failure.ts";
import { isGrpc } from "./metadata.ts";
import { codeFromHttp, readStatus } from "./status.ts";

/**
 * Returns the error that response headers contain, or of headers that are not valid.
 *
 * @param ended whether this is a trailers-only response
 * @param from the server, as errors name it
 */
export function checkResponse(
  headers: HeaderList & { readonly ":status"?: number | undefined },
  ended: boolean,
  from: string,
): ConnectError | undefined {
  // A trailers-only response has its status here; for any other response the trailers have it.
  const status = ended ? readStatus(headers) : undefined;
  if (status instanceof ConnectError) return status;
  const http = headers[":status"];
  if (http !== 200) {
    return peerFailure(
      codeFromHttp(http ?? 0),
      `HTTP status ${http} from ${from}, without a gRPC status`,
    );
  }
  if (!isGrpc(headers["content-type"])) {
    const contentType = String(headers["content-type"] ?? "");
    const grpc = contentType.startsWith("application/grpc");
    return peerFailure(
      grpc ? Code.Internal : Code.Unknown,
      `content-type "${contentType}" from ${from} is not gRPC with protobuf: is it a gRPC server?`,
    );
  }
  const encoding = headers["grpc-encoding"];
  if (!isSupported(encoding)) {
    return peerFailure(Code.Internal, `grpc-encoding "${encoding}" from ${from} was not asked for`);
  }
  if (ended && status === undefined) {
    return peerFailure(Code.Internal, `${from} ended the call without a gRPC status`);
  }
  return undefined;
}
