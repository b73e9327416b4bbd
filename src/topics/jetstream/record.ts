import type { MsgHdrs } from "@nats-io/transport-node";
import type { TopicRecord } from "../log.ts";
import type { TopicSubjects } from "./stream.ts";

/** The header with the time of a record. Only servers before 2.10 need it: what they republish has no time. */
export const TIME_HEADER = "Hawser-Time";

/** Returns the time in TIME_HEADER, in milliseconds since 1970, or `undefined` if the header is missing. */
export function headerTimeMs(headers: MsgHdrs | undefined): number | undefined {
  return Number(headers?.get(TIME_HEADER)) || undefined;
}

/** Converts a message of the stream to a record of its topic. */
export function recordOf(
  subjects: TopicSubjects,
  position: number,
  { data, timeMs }: Pick<TopicRecord, "data" | "timeMs">,
): TopicRecord {
  // The NATS client returns a Buffer or a plain Uint8Array, depending on the chunks in which the
  // message arrived.
  const plain = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const cursor = subjects.cursors.write(position);
  return { kind: "record", position, cursor, data: plain, timeMs };
}
