import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type JoinResponse,
  JoinResponseSchema,
  type WatchResponse,
  WatchResponseSchema,
} from "hawser/gen/chat/v1/room_pb.js";
import { encodedOnce } from "hawser/server";
import type { HubEvent } from "hawser/topics";
import type { MembersChange } from "./room-members.ts";

type WatchEvent = NonNullable<MessageInitShape<typeof WatchResponseSchema>["event"]>;
type JoinEvent = NonNullable<MessageInitShape<typeof JoinResponseSchema>["event"]>;

/** The most members that an opening names, as room.proto states. */
const OPENED_MEMBERS = 100;

/** The fields of an event of a room: all that watchers get, and which member is typing. */
export type RoomEventFields = WatchEvent | Extract<JoinEvent, { case: "typing" }>;

/**
 * An event of a room, for all of its calls: each response is made when the first
 * of them needs it, and encoded once.
 */
export class RoomEvent {
  readonly cursor: string;
  readonly event: RoomEventFields;
  #watch: WatchResponse | undefined;
  #join: JoinResponse | undefined;

  constructor(cursor: string, event: RoomEventFields) {
    this.cursor = cursor;
    this.event = event;
  }

  /** The response for watchers; `undefined` for a typing event, which they do not get. */
  get watch(): WatchResponse | undefined {
    const { cursor, event } = this;
    if (event.case === "typing") return undefined;
    this.#watch ??= encodedOnce(WatchResponseSchema, { cursor, event });
    return this.#watch;
  }

  /** The response for members. */
  get join(): JoinResponse {
    const { cursor, event } = this;
    this.#join ??= encodedOnce(JoinResponseSchema, { cursor, event });
    return this.#join;
  }
}

/** Converts an event of the hub to an event of a room; `names` returns the room's members. */
export function roomEventOf(
  event: HubEvent<RoomEvent, RoomEvent>,
  names: () => readonly string[],
): RoomEvent {
  switch (event.kind) {
    case "opening": {
      const all = names();
      const members = all.slice(0, OPENED_MEMBERS).map(memberOf);
      const value = { members, count: all.length };
      return new RoomEvent(event.cursor, { case: "opened", value });
    }
    case "gap":
      return new RoomEvent(event.cursor, { case: "gap", value: {} });
    default:
      return event.value;
  }
}

/** Converts a change of a room's members to an event of the room. */
export function changedEventOf(change: MembersChange): RoomEventFields {
  const [joined, left] = [change.joined, change.left].map((names) => names.map(memberOf));
  return { case: "membersChanged", value: { ...change, joined, left } };
}

const memberOf = (name: string) => ({ name });
