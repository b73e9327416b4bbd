/** Reads the request headers of a call at the server. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { ENCODING, isSupported } from "../codec/compression.ts";
import { peerFailure, toWire } from "../failure.ts";
import type { CallFields } from "./call-fields.ts";
import type { KnownCaller } from "./caller.ts";
import { parseTimeout } from "./timeout.ts";

/** The request headers of a call. */
export interface Incoming {
  readonly fields: CallFields;
  /** All of them, as names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly caller: KnownCaller;
}

/** Compress responses? "gzip": if the client accepts it. "identity": never. `undefined`: if it also sends gzip. */
export type SendCompression = "gzip" | "identity" | undefined;

/** Reads the client's deadline in milliseconds, `undefined` if it set none. Returns an error if it is not allowed. */
export function readTimeout(
  { timeout }: CallFields,
  maxTimeoutMs: number,
): number | undefined | ConnectError {
  if (timeout === undefined) return undefined;
  try {
    const timeoutMs = parseTimeout(timeout);
    if (timeoutMs <= maxTimeoutMs) return timeoutMs;
    return peerFailure(
      Code.InvalidArgument,
      `a timeout of ${timeoutMs} ms is over maxTimeoutMs ${maxTimeoutMs}: ask for less`,
    );
  } catch (error) {
    return toWire(error);
  }
}

/** Returns the error with which a call with these headers is refused, if it is. */
export function refusalOf(
  { encoding }: CallFields,
  timeout: number | undefined | ConnectError,
): ConnectError | undefined {
  if (timeout instanceof ConnectError) return timeout;
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
export function acceptsGzip(
  { encoding, acceptEncoding = "" }: CallFields,
  sendCompression: SendCompression,
): boolean {
  if (sendCompression === "identity") return false;
  if (sendCompression === undefined && encoding !== ENCODING) return false;
  return acceptEncoding.split(",").some((encoding) => encoding.trim() === ENCODING);
}
