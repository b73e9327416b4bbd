/**
 * The status of a gRPC call as it stands in trailers: grpc-status,
 * grpc-message, grpc-status-details-bin (gRPC PROTOCOL-HTTP2, "Responses").
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { addHeaders, toHeaders } from "./metadata.ts";

/** Peers take 64 KiB of headers in all: what is longer would cost the call its status. */
const MESSAGE_MAX_CHARS = 24 * 1024;
const DETAILS_MAX_CHARS = 24 * 1024;

/** A message whose percent-encoded form fits; one that does not ends with its length. */
function cut(message: string): string {
  if (encodeMessage(message).length <= MESSAGE_MAX_CHARS) return message;
  // Nine characters of percent-encoding for one of text are the most there can be.
  const kept = message.slice(0, Math.floor(MESSAGE_MAX_CHARS / 9) - 64);
  return `${kept} … (cut; ${message.length} characters)`;
}

/** The trailers that end a call: its status, then the metadata. */
export function statusTrailers(
  error: ConnectError | undefined,
  trailers: Headers | undefined,
): OutgoingHttpHeaders {
  if (error === undefined) {
    const outgoing: OutgoingHttpHeaders = { "grpc-status": "0" };
    addHeaders(outgoing, trailers);
    return outgoing;
  }
  const message = cut(error.rawMessage);
  const outgoing: OutgoingHttpHeaders = {
    "grpc-status": String(error.code),
    "grpc-message": encodeMessage(message),
  };
  if (error.details.length > 0) {
    const details = encodeDetails(error, message);
    // A status without details beats details that take the status with them.
    if (details.length <= DETAILS_MAX_CHARS) outgoing["grpc-status-details-bin"] = details;
  }
  // An error that came from another server brings its details along, not that server's headers.
  if (!error.isWireError) addHeaders(outgoing, error.metadata);
  addHeaders(outgoing, trailers);
  return outgoing;
}

/**
 * What trailers, or the headers of a trailers-only response, say of a call:
 * `undefined` where they hold no status, `"ok"`, or the error.
 */
export function readStatus(incoming: IncomingHttpHeaders): "ok" | ConnectError | undefined {
  const status = incoming["grpc-status"];
  if (status === undefined) return undefined;
  if (status === "0") return "ok";
  const code = /^\d{1,2}$/.test(String(status)) ? Number(status) : Number.NaN;
  const known = code in Code;
  const error = new ConnectError(
    known
      ? decodeMessage(String(incoming["grpc-message"] ?? ""))
      : `protocol error: grpc-status "${status}" is not a status code of gRPC`,
    known ? code : Code.Unknown,
    toHeaders(incoming),
  );
  const details = incoming["grpc-status-details-bin"];
  if (typeof details === "string") error.details = decodeDetails(details);
  error.isWireError = true;
  return error;
}

/** The code that stands for an HTTP status without grpc-status (gRPC http-grpc-status-mapping). */
export function codeFromHttp(status: number): Code {
  switch (status) {
    case 400:
      return Code.Internal;
    case 401:
      return Code.Unauthenticated;
    case 403:
      return Code.PermissionDenied;
    case 404:
      return Code.Unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code.Unavailable;
    default:
      return Code.Unknown;
  }
}

/** Percent-encodes all but printable ASCII, and the percent sign; spaces too where HTTP would strip them. */
function encodeMessage(message: string): string {
  return message.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]+|^ +| +$/g, encodeURIComponent);
}

function decodeMessage(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

// google.rpc.Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }
// google.protobuf.Any { string type_url = 1; bytes value = 2; }

function encodeDetails(error: ConnectError, message: string): string {
  const status = new BinaryWriter();
  status.tag(1, WireType.Varint).int32(error.code);
  status.tag(2, WireType.LengthDelimited).string(message.toWellFormed());
  for (const detail of error.details) {
    const [type, value] =
      "desc" in detail
        ? [detail.desc.typeName, toBinary(detail.desc, create(detail.desc, detail.value))]
        : [detail.type, detail.value];
    status.tag(3, WireType.LengthDelimited).fork();
    status.tag(1, WireType.LengthDelimited).string(`type.googleapis.com/${type}`);
    status.tag(2, WireType.LengthDelimited).bytes(value);
    status.join();
  }
  return Buffer.from(status.finish()).toString("base64").replace(/=+$/, "");
}

/** The details that can be read; a malformed header has none. */
function decodeDetails(header: string): ConnectError["details"] {
  const details: ConnectError["details"] = [];
  try {
    const status = new BinaryReader(Buffer.from(header, "base64"));
    while (status.pos < status.len) {
      const [field, wireType] = status.tag();
      if (field !== 3 || wireType !== WireType.LengthDelimited) {
        status.skip(wireType, field);
        continue;
      }
      const any = new BinaryReader(status.bytes());
      let type = "";
      let value: Uint8Array<ArrayBuffer> = new Uint8Array();
      while (any.pos < any.len) {
        const [field, wireType] = any.tag();
        if (field === 1) type = any.string();
        else if (field === 2) value = new Uint8Array(any.bytes());
        else any.skip(wireType, field);
      }
      details.push({ type: type.slice(type.lastIndexOf("/") + 1), value });
    }
  } catch {
    return [];
  }
  return details;
}
