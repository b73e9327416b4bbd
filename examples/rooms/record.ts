import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Message, MessageSchema } from "hawser/gen/chat/v1/room_pb.js";
import { Code, ConnectError } from "hawser/server";
import { decodeMessage, encodeMessage, type NewRecord, type TopicRecord } from "hawser/topics";

/** The topics of rooms, and no others, begin with this. */
export const ROOM_TOPICS = "room/";

export function topicOf(room: string): string {
  return ROOM_TOPICS + room;
}

/** A message to be stored. */
export interface NewMessage {
  readonly name: string;
  readonly text: string;
  readonly producer: string;
  readonly sequence: bigint;
}

/** The record of a message; the log sets its time. */
export function recordOf({ name, text, producer, sequence }: NewMessage): NewRecord {
  return { data: encodeMessage(MessageSchema, { name, text }), id: { producer, sequence } };
}

/** The message of a record. */
export function messageOf({ data, timeMs }: TopicRecord): Message {
  let message: Message;
  try {
    message = decodeMessage(MessageSchema, data);
  } catch (error) {
    const text = "a message of this room is damaged: watch from a later cursor";
    throw new ConnectError(text, Code.DataLoss, undefined, undefined, error);
  }
  message.time = timestampFromMs(timeMs);
  return message;
}
