import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type JoinResponse,
  JoinResponseSchema,
  type WatchResponse,
  WatchResponseSchema,
} from "hawser/gen/chat/v1/room_pb.js";
import { encodedOnce } from "hawser/server";
import type { HubEvent } from "hawser/topics";

type WatchEvent = NonNullable<MessageInitShape<typeof WatchResponseSchema>["event"]>;
type JoinEvent = NonNullable<MessageInitShape<typeof JoinResponseSchema>["event"]>;

/** How many members an opening names at most: as many as room.proto states. */
const OPENED_MEMBERS = 1000;

/** What happens in a room: all that watchers are told, and who is typing. */
type Happening = WatchEvent | Extract<JoinEvent, { case: "typing" }>;

/**
 * Something that happens in a room, for all who are there: each response is
 * made when the first of them needs it, and encoded once.
 */
export class RoomEvent {
  readonly cursor: string;
  readonly event: Happening;
  #watch: WatchResponse | undefined;
  #join: JoinResponse | undefined;

  constructor(cursor: string, event: Happening) {
    this.cursor = cursor;
    this.event = event;
  }

  /** As watchers get it; that somebody is typing is not for them. */
  get watch(): WatchResponse | undefined {
    const { cursor, event } = this;
    if (event.case === "typing") return undefined;
    this.#watch ??= encodedOnce(WatchResponseSchema, { cursor, event });
    return this.#watch;
  }

  /** As members get it. */
  get join(): JoinResponse {
    const { cursor, event } = this;
    this.#join ??= encodedOnce(JoinResponseSchema, { cursor, event });
    return this.#join;
  }
}

/** What an event of the hub is in a room; `names`: who is there. */
export function roomEventOf(
  event: HubEvent<RoomEvent, RoomEvent>,
  names: () => readonly string[],
): RoomEvent {
  switch (event.kind) {
    case "opening": {
      const all = names();
      const members = all.slice(0, OPENED_MEMBERS).map((name) => ({ name }));
      const value = { members, count: all.length };
      return new RoomEvent(event.cursor, { case: "opened", value });
    }
    case "gap":
      return new RoomEvent(event.cursor, { case: "gap", value: {} });
    default:
      return event.value;
  }
}
