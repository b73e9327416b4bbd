import type { MsgHdrs } from "@nats-io/transport-node";
import type { TopicRecord } from "../log.ts";
import type { TopicSubjects } from "./stream.ts";

/**
 * The header with the time of a record, for servers before 2.10: what they publish again does not
 * say when it was stored.
 */
export const TIME_HEADER = "Hawser-Time";

/** The time in TIME_HEADER, in milliseconds since 1970; `undefined` where there is none. */
export function headerTimeMs(headers: MsgHdrs | undefined): number | undefined {
  return Number(headers?.get(TIME_HEADER)) || undefined;
}

/** A message of the stream as a record of its topic. */
export function recordOf(
  subjects: TopicSubjects,
  position: number,
  { data, timeMs }: Pick<TopicRecord, "data" | "timeMs">,
): TopicRecord {
  // The client of NATS gives a Buffer or a plain Uint8Array, depending on the pieces that came.
  const plain = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const cursor = subjects.cursors.write(position);
  return { kind: "record", position, cursor, data: plain, timeMs };
}
