/** What a server reads of the headers that open a call. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { ENCODING, isSupported } from "../codec/compression.ts";
import { failure, toWire } from "../failure.ts";
import { parseTimeout } from "./timeout.ts";

/** The headers that open a call, in both forms that node:http2 gives. */
export interface Incoming {
  readonly headers: HeaderList;
  readonly rawHeaders: readonly string[];
}

/** "gzip" for all clients that accept it, "identity" for none, `undefined`: for those that send gzip. */
export type SendCompression = "gzip" | "identity" | undefined;

/** The deadline that the client sets, in milliseconds; `undefined`: none. An error: why it cannot be had. */
export function readTimeout(
  headers: HeaderList,
  maxTimeoutMs: number,
): number | undefined | ConnectError {
  const header = headers["grpc-timeout"];
  if (header === undefined) return undefined;
  try {
    const timeoutMs = parseTimeout(String(header));
    if (timeoutMs <= maxTimeoutMs) return timeoutMs;
    return failure(
      Code.InvalidArgument,
      `a timeout of ${timeoutMs} ms is over maxTimeoutMs ${maxTimeoutMs}: ask for less`,
    );
  } catch (error) {
    return toWire(error);
  }
}

/** The encoding of the client's messages, where it names one. */
export function readEncoding(headers: HeaderList): string | undefined {
  return headers["grpc-encoding"] as string | undefined;
}

/** Why a call with these headers has no handler, where it has none. */
export function refusalOf(
  headers: HeaderList,
  timeout: number | undefined | ConnectError,
): ConnectError | undefined {
  if (timeout instanceof ConnectError) return timeout;
  const encoding = readEncoding(headers);
  if (isSupported(encoding)) return undefined;
  return failure(
    Code.Unimplemented,
    `grpc-encoding "${encoding}" is not supported: use ${ENCODING} or identity`,
  );
}

/** The headers that every response has. */
export function responseHead(contentType: string, gzip: boolean): HeaderList {
  const head: HeaderList = {
    ":status": 200,
    "content-type": contentType,
    "grpc-accept-encoding": ENCODING,
  };
  if (gzip) head["grpc-encoding"] = ENCODING;
  return head;
}

/** Whether responses to such a call are compressed. */
export function acceptsGzip(headers: HeaderList, sendCompression: SendCompression): boolean {
  if (sendCompression === "identity") return false;
  if (sendCompression === undefined && headers["grpc-encoding"] !== ENCODING) return false;
  return String(headers["grpc-accept-encoding"] ?? "")
    .split(",")
    .some((encoding) => encoding.trim() === ENCODING);
}
