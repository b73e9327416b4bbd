/**
 * The status of a gRPC call in its trailers: grpc-status, grpc-message,
 * grpc-status-details-bin (gRPC PROTOCOL-HTTP2, "Responses").
 */

import { create, toBinary } from "@bufbuild/protobuf";
import {
  BinaryReader,
  BinaryWriter,
  base64Decode,
  base64Encode,
  WireType,
} from "@bufbuild/protobuf/wire";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { failure, knownCode, peerFailure } from "../failure.ts";
import { fieldBytes, headerListBytes, TRAILERS_BYTES } from "./header-limits.ts";
import { addMetadata, toHeaders } from "./metadata.ts";

/** A shortened message keeps at least this much; metadata of a handler that leaves less is refused. */
const MESSAGE_KEPT_BYTES = 256;

/** The limit of the trailers of a call, and the used part of it. */
export interface TrailersBudget {
  /** The trailers stay below this size, as HPACK counts it. */
  readonly limitBytes: number;
  /** The part that is used by headers in the same block, or by trailers that are added later. */
  readonly usedBytes: number;
}

export interface FittedTrailers {
  readonly fields: HeaderList;
  /** If the handler's metadata is not valid or too large: the error with which the call ends instead. */
  readonly fault: ConnectError | undefined;
}

/**
 * Makes the trailers that end a call: its status, then the metadata of the error
 * and of the handler. If they do not fit, the details of the error are left out
 * first, then its message is shortened; the message says so. If the metadata does
 * not fit even then, the call ends with RESOURCE_EXHAUSTED; if gRPC does not
 * allow it, with INTERNAL.
 */
export function fitTrailers(
  error: ConnectError | undefined,
  trailers: Headers | undefined,
  budget: TrailersBudget,
): FittedTrailers {
  const metadata: HeaderList = {};
  // The error of a call to another server keeps its details, without the headers of that server.
  const ofError = error?.isWireError === false ? error.metadata : undefined;
  const wrong =
    (ofError && addMetadata(metadata, ofError)) ?? (trailers && addMetadata(metadata, trailers));
  const had = error === undefined ? "" : `; the call had ended with ${error.message}`;
  const ends = (fault: ConnectError) => ({ fields: fitStatus(fault, budget).fields, fault });
  if (wrong !== undefined) {
    return ends(
      failure(Code.Internal, `the handler's trailers cannot be sent: ${wrong}${had}`, error),
    );
  }
  const bytes = headerListBytes(metadata);
  const { fields, enough } = fitStatus(error, { ...budget, usedBytes: budget.usedBytes + bytes });
  if (bytes > 0 && !enough) {
    const what = `the handler's trailers are ${bytes} B (32 B are counted for each)`;
    return ends(
      failure(
        Code.ResourceExhausted,
        `${what}, and all trailers are limited to ${budget.limitBytes} B: send less, or send it in a message${had}`,
        error,
      ),
    );
  }
  return { fields: Object.assign(fields, metadata), fault: undefined };
}

/** Makes the trailers of a call that no handler ended. Default budget: that of a client that announced no limit. */
export function statusTrailers(
  error: ConnectError | undefined,
  trailers: Headers | undefined,
  budget: TrailersBudget = { limitBytes: TRAILERS_BYTES, usedBytes: 0 },
): HeaderList {
  return fitTrailers(error, trailers, budget).fields;
}

/** Makes the fields of a status: always its code, and as much of the rest as fits. Returns whether that is enough. */
function fitStatus(
  error: ConnectError | undefined,
  { limitBytes, usedBytes }: TrailersBudget,
): { fields: HeaderList; enough: boolean } {
  const fields: HeaderList = {
    "grpc-status": error === undefined ? "0" : String(knownCode(error.code)),
  };
  // Minus one: trailers stay below the limit.
  const leftBytes = limitBytes - usedBytes - headerListBytes(fields) - 1;
  if (error === undefined) return { fields, enough: leftBytes >= 0 };
  const message = encodeMessage(error.rawMessage);
  const details = error.details.length > 0 ? encodeDetails(error, error.rawMessage) : undefined;
  const messageMaxBytes = leftBytes - fieldBytes("grpc-message", "");
  const detailsBytes = details === undefined ? 0 : fieldBytes("grpc-status-details-bin", details);
  if (message.length + detailsBytes <= messageMaxBytes) {
    fields["grpc-message"] = message;
    if (details !== undefined) fields["grpc-status-details-bin"] = details;
    return { fields, enough: true };
  }
  const note =
    details === undefined
      ? ""
      : ` (details of ${details.length} B left out: trailers are limited to ${limitBytes} B)`;
  const { text, whole } = shorten(error.rawMessage, note, messageMaxBytes);
  fields["grpc-message"] = text;
  return { fields, enough: whole || text.length >= MESSAGE_KEPT_BYTES };
}

/**
 * Percent-encodes a message and a note after it. If they are over `maxBytes`, cuts
 * the message between two characters, and adds how long it was.
 */
function shorten(
  message: string,
  note: string,
  maxBytes: number,
): { text: string; whole: boolean } {
  const text = encodeMessage(message + note);
  if (text.length <= maxBytes) return { text, whole: true };
  const end = ` ... (cut; ${message.length} characters)${note}`;
  let leftBytes = maxBytes - encodeMessage(end).length;
  if (leftBytes < 0) return { text: "", whole: false };
  let at = 0;
  let leading = true;
  for (const character of message) {
    leading &&= character === " ";
    // A space at the beginning is encoded, another one is not.
    leftBytes -= leading ? 3 : encodedLength(character);
    if (leftBytes < 0) break;
    at += character.length;
  }
  return { text: encodeMessage(message.slice(0, at) + end), whole: false };
}

/**
 * Reads the status from trailers, or from the headers of a trailers-only
 * response. Returns `undefined` if they have none.
 */
export function readStatus(incoming: HeaderList): "ok" | ConnectError | undefined {
  const status = incoming["grpc-status"];
  if (status === undefined) return undefined;
  if (status === "0") return "ok";
  const error = peerFailure(
    /^\d+$/.test(String(status)) ? knownCode(Number(status)) : Code.Unknown,
    messageOf(String(status), decodeMessage(String(incoming["grpc-message"] ?? ""))),
    toHeaders(incoming),
  );
  const details = incoming["grpc-status-details-bin"];
  if (typeof details === "string") error.details = decodeDetails(details);
  error.isWireError = true;
  return error;
}

/** Returns the server's message. If the status is not one of gRPC's and the message does not explain it, adds that. */
function messageOf(status: string, message: string): string {
  const isNumber = /^\d+$/.test(status);
  if (isNumber && (message !== "" || knownCode(Number(status)) === Number(status))) return message;
  const what = `protocol error: grpc-status "${status}" is not a status code of gRPC`;
  return message === "" ? what : `${message} (${what})`;
}

/** The code for an HTTP status without grpc-status (gRPC http-grpc-status-mapping). */
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

/** The length of a character after encodeMessage(), except for spaces at the ends of a message. */
function encodedLength(character: string): number {
  const code = character.codePointAt(0) as number;
  if (code >= 0x20 && code <= 0x7e && character !== "%") return 1;
  if (code < 0x80) return 3;
  if (code < 0x800) return 6;
  return code < 0x10000 ? 9 : 12;
}

/** Percent-encodes everything except printable ASCII, the percent sign, and spaces that HTTP would strip. */
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
  status.tag(1, WireType.Varint).int32(knownCode(error.code));
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
  return base64Encode(status.finish(), "std_raw");
}

/** Reads the details of a status. Returns none if the header is malformed. */
function decodeDetails(header: string): ConnectError["details"] {
  const details: ConnectError["details"] = [];
  try {
    const status = new BinaryReader(base64Decode(header));
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
