/** Reads the request headers of a call at the server. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { ENCODING, isSupported } from "../codec/compression.ts";
import { peerFailure, toWire } from "../failure.ts";
import { parseTimeout } from "./timeout.ts";

/** The request headers of a call in two forms: by name, and as names and values in turn. */
export interface Incoming {
  readonly headers: HeaderList;
  readonly rawHeaders: readonly string[];
}

/** Compress responses? "gzip": if the client accepts it. "identity": never. `undefined`: if it also sends gzip. */
export type SendCompression = "gzip" | "identity" | undefined;

/** Reads the client's deadline in milliseconds, `undefined` if it set none. Returns an error if it is not allowed. */
export function readTimeout(
  headers: HeaderList,
  maxTimeoutMs: number,
): number | undefined | ConnectError {
  const header = headers["grpc-timeout"];
  if (header === undefined) return undefined;
  try {
    const timeoutMs = parseTimeout(String(header));
    if (timeoutMs <= maxTimeoutMs) return timeoutMs;
    return peerFailure(
      Code.InvalidArgument,
      `a timeout of ${timeoutMs} ms is over maxTimeoutMs ${maxTimeoutMs}: ask for less`,
    );
  } catch (error) {
    return toWire(error);
  }
}

/** The grpc-encoding of the client's messages, if it names one. */
export function readEncoding(headers: HeaderList): string | undefined {
  return headers["grpc-encoding"] as string | undefined;
}

/** Returns the error with which a call with these headers is refused, if it is. */
export function refusalOf(
  headers: HeaderList,
  timeout: number | undefined | ConnectError,
): ConnectError | undefined {
  if (timeout instanceof ConnectError) return timeout;
  const encoding = readEncoding(headers);
  if (isSupported(encoding)) return undefined;
  return peerFailure(
    Code.Unimplemented,
    `grpc-encoding "${encoding}" is not supported: use ${ENCODING} or identity`,
  );
}

/** The headers of responses with the usual content-types. */
const plainHeads = headsOf(false);
const gzipHeads = headsOf(true);

/** The headers that every response has. */
export function responseHead(contentType: string, gzip: boolean): Readonly<HeaderList> {
  return (gzip ? gzipHeads : plainHeads).get(contentType) ?? makeHead(contentType, gzip);
}

function headsOf(gzip: boolean): Map<string, Readonly<HeaderList>> {
  const contentTypes = ["application/grpc", "application/grpc+proto"];
  return new Map(contentTypes.map((type) => [type, Object.freeze(makeHead(type, gzip))]));
}

function makeHead(contentType: string, gzip: boolean): HeaderList {
  const head: HeaderList = {
    ":status": 200,
    "content-type": contentType,
    "grpc-accept-encoding": ENCODING,
  };
  if (gzip) head["grpc-encoding"] = ENCODING;
  return head;
}

/** Whether the responses of the call are compressed. */
export function acceptsGzip(headers: HeaderList, sendCompression: SendCompression): boolean {
  if (sendCompression === "identity") return false;
  if (sendCompression === undefined && headers["grpc-encoding"] !== ENCODING) return false;
  return String(headers["grpc-accept-encoding"] ?? "")
    .split(",")
    .some((encoding) => encoding.trim() === ENCODING);
}
