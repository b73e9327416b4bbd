/** The frames of a session that have a Control in place of a message (session.proto, 5). */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Control,
  ControlSchema,
  type Metadata,
  MetadataSchema,
} from "../../gen/hawser/v1/session_pb.js";
import type { HeaderList, Received } from "../call-stream.ts";

/** The flag of a frame with a Control. */
export const CONTROL = 0x40;

/** A longer Control breaks the protocol (session.proto, 5). */
const CONTROL_MAX_BYTES = 65_536;

/** The rules for control frames, for a FrameReader. */
export const CONTROL_FRAMES = { flag: CONTROL, maxBytes: CONTROL_MAX_BYTES };

/** Field 1 of Control, a varint. */
const RECEIVED_TAG = 0x08;

/** An acknowledgement, encoded by hand: most control frames are one. */
export function receivedControl(count: number): Uint8Array {
  let length = 2;
  for (let rest = count; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  const bytes = new Uint8Array(length);
  bytes[0] = RECEIVED_TAG;
  let rest = count;
  for (let at = 1; at < length - 1; at++) {
    bytes[at] = (rest % 0x80) + 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[length - 1] = rest;
  return bytes;
}

export const endControl = (count: number): Uint8Array =>
  encode({ case: "end", value: BigInt(count) });

/** A Control with an empty header: most handlers set none. */
const NO_HEADER = Uint8Array.of(0x1a, 0);

export const headerControl = (header: Metadata): Uint8Array =>
  header.entries.length === 0 ? NO_HEADER : encode({ case: "header", value: header });

export const expiresControl = (validMs: number): Uint8Array =>
  encode({ case: "expires", value: BigInt(Math.max(Math.floor(validMs), 0)) });

export const renewalControl = (headers: HeaderList): Uint8Array =>
  encode({ case: "renewal", value: writeMetadata(headers) });

/** Converts headers to the form that they have in a Control. */
export function writeMetadata(headers: HeaderList): Metadata {
  const entries = Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => ({ name, value: String(one) })),
  );
  return create(MetadataSchema, { entries });
}

/** Names and values that HTTP/2 allows in a HEADERS frame, pseudo-headers aside. */
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Reads the headers in a Control. Returns `undefined` if one of them is not a valid header. */
export function readMetadata({ entries }: Metadata): HeaderList | undefined {
  const headers: Record<string, string | string[]> = {};
  for (const { name, value } of entries) {
    if (!NAME.test(name) || !VALUE.test(value)) return undefined;
    const before = headers[name];
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  return headers;
}

/** Reads a control frame. Returns `undefined` if it is not a valid Control, or has a count above 2^53 - 1. */
export function readControl(frame: Received): Control["kind"] | undefined {
  if ((frame.flags & ~CONTROL) !== 0 || frame.end - frame.start > CONTROL_MAX_BYTES) {
    return undefined;
  }
  const received = readReceived(frame);
  if (received !== undefined) return received;
  try {
    const { kind } = fromBinary(ControlSchema, frame.bytes.subarray(frame.start, frame.end));
    if (kind.case === "received" || kind.case === "end" || kind.case === "expires") {
      return kind.value <= BigInt(Number.MAX_SAFE_INTEGER) ? kind : undefined;
    }
    return kind;
  } catch {
    return undefined;
  }
}

/** Reads what receivedControl() makes. Returns `undefined` if fromBinary() must read the frame. */
function readReceived({ bytes, start, end }: Received): Control["kind"] | undefined {
  if (bytes[start] !== RECEIVED_TAG || end - start > 8) return undefined;
  let count = 0;
  let scale = 1;
  for (let at = start + 1; at < end; at++) {
    const byte = bytes[at] as number;
    count += (byte & 0x7f) * scale;
    scale *= 0x80;
    if (byte < 0x80) return at === end - 1 ? { case: "received", value: BigInt(count) } : undefined;
  }
  return undefined;
}

function encode(kind: Control["kind"]): Uint8Array {
  return toBinary(ControlSchema, create(ControlSchema, { kind }));
}
