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

/** Converts the events of the hub to events of rooms. */
export class RoomEvents {
  /**
   * The newest opening with these members. Many calls begin at the same position: with the members of the moment, each of
   * them gets the same bytes.
   */
  readonly #openings = new WeakMap<readonly string[], RoomEvent>();

  /** @param members returns the members of the room; another array after each change */
  of(event: HubEvent<RoomEvent, RoomEvent>, members: () => readonly string[]): RoomEvent {
    switch (event.kind) {
      case "opening":
        return this.#opening(event.cursor, members());
      case "gap":
        return new RoomEvent(event.cursor, { case: "gap", value: {} });
      default:
        return event.value;
    }
  }

  #opening(cursor: string, all: readonly string[]): RoomEvent {
    const newest = this.#openings.get(all);
    if (newest?.cursor === cursor) return newest;
    const members = all.slice(0, OPENED_MEMBERS).map(memberOf);
    const value = { members, count: all.length };
    const opening = new RoomEvent(cursor, { case: "opened", value });
    this.#openings.set(all, opening);
    return opening;
  }
}

/** Converts a change of a room's members to an event of the room. */
export function changedEventOf(change: MembersChange): RoomEventFields {
  const [joined, left] = [change.joined, change.left].map((names) => names.map(memberOf));
  return { case: "membersChanged", value: { ...change, joined, left } };
}

const memberOf = (name: string) => ({ name });
