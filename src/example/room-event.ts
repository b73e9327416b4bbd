import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type JoinResponse,
  JoinResponseSchema,
  type Member,
  MessageSchema,
  type WatchResponse,
  WatchResponseSchema,
} from "../../gen/chat/v1/room_pb.js";
import { Code, ConnectError, type Entry, type HubEvent } from "../server.ts";

type WatchEvent = NonNullable<MessageInitShape<typeof WatchResponseSchema>["event"]>;
type JoinEvent = NonNullable<MessageInitShape<typeof JoinResponseSchema>["event"]>;

/**
 * Something that happens in a room, for all who are there. Each response is
 * made when the first of them needs it, and encoded once.
 */
export class RoomEvent {
  readonly cursor: string;
  readonly event: WatchEvent | (JoinEvent & { case: "typing" });
  #watch: WatchResponse | undefined;
  #join: JoinResponse | undefined;

  constructor(cursor: string, event: RoomEvent["event"]) {
    this.cursor = cursor;
    this.event = event;
  }

  /** As a watcher gets it; typing is not for watchers. */
  get watch(): WatchResponse | undefined {
    const { cursor, event } = this;
    if (event.case === "typing") return undefined;
    this.#watch ??= encodedOnce(WatchResponseSchema, { cursor, event });
    return this.#watch;
  }

  /** As a member gets it. */
  get join(): JoinResponse {
    const { cursor, event } = this;
    this.#join ??= encodedOnce(JoinResponseSchema, { cursor, event });
    return this.#join;
  }
}

/** The event that a record of a room's topic is. */
export function readMessage({ data, cursor, timeMs }: Entry): RoomEvent {
  try {
    const value = fromBinary(MessageSchema, data);
    value.time = timestampFromMs(timeMs);
    return new RoomEvent(cursor, { case: "message", value });
  } catch (error) {
    throw new ConnectError(
      "a message of this room is damaged: watch from a later cursor",
      Code.DataLoss,
      undefined,
      undefined,
      error,
    );
  }
}

/** What is told of an event of the hub, beside notes that are for some. */
export function asRoomEvent(
  event: HubEvent<RoomEvent, RoomEvent>,
  members: () => Member[],
): RoomEvent {
  switch (event.kind) {
    case "opening":
      return new RoomEvent(event.mark.cursor, { case: "opened", value: { members: members() } });
    case "gap":
      return new RoomEvent(event.cursor, { case: "gap", value: {} });
    default:
      return event.value;
  }
}
