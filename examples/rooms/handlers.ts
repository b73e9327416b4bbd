import { create } from "@bufbuild/protobuf";
import {
  type JoinRequest,
  JoinResponseSchema,
  type RoomService,
  Start,
} from "hawser/gen/chat/v1/room_pb.js";
import { type Logger, later, type ServiceImpl } from "hawser/server";
import { compareTopics, createHub, type Hub, type TopicLog } from "hawser/topics";
import { checkName, checkSequence, checkText, invalid } from "./checks.ts";
import { importMessages } from "./import-messages.ts";
import { pageOf, readPageSize } from "./pages.ts";
import { Presence } from "./presence.ts";
import { messageOf, ROOM_TOPICS, recordOf, topicOf } from "./record.ts";
import { RoomEvent, roomEventOf } from "./room-event.ts";
import { takePart } from "./take-part.ts";

/** Chat rooms as proto/chat/v1/room.proto describes them. Dispose them behind the server, before the log. */
export interface Rooms extends AsyncDisposable {
  readonly service: ServiceImpl<typeof RoomService>;
}

export interface RoomOptions {
  /** How often this node tells others who is here; after three times that, a dead one's members are gone. Default: 10 s. */
  readonly beatMs?: number;
  /** Told once where the topic of presence has something that is no record of it. Default: `console`. */
  readonly logger?: Pick<Logger, "warn">;
}

/**
 * Makes rooms that keep their messages in a log. Several servers may serve the
 * same rooms, where their logs are of one store.
 */
export function rooms(log: TopicLog, options: RoomOptions = {}): Rooms {
  const hub: Hub<RoomEvent, RoomEvent> = createHub<RoomEvent, RoomEvent>(log, {
    make: (entry) => new RoomEvent(entry.cursor, { case: "message", value: messageOf(entry) }),
  });
  const presence = new Presence(log, {
    ...options,
    onEvent(event, room, name) {
      const note = new RoomEvent("", { case: event, value: { name } });
      hub.announce(topicOf(room), note, { fleeting: event === "typing" });
    },
  });
  return {
    service: roomService(log, hub, presence),
    async [Symbol.asyncDispose]() {
      await presence[Symbol.asyncDispose]();
      await hub[Symbol.asyncDispose]();
    },
  };
}

function roomService(
  log: TopicLog,
  hub: Hub<RoomEvent, RoomEvent>,
  presence: Presence,
): ServiceImpl<typeof RoomService> {
  return {
    async post({ room, name, text, producer, sequence }) {
      checkName("room", room);
      checkName("name", name);
      checkText("text", text);
      checkName("producer", producer);
      checkSequence("sequence", sequence);
      const record = recordOf({ name, text, producer, sequence });
      const [appended] = await log.append(topicOf(room), [record]);
      return { cursor: appended?.cursor, repeated: appended?.repeated };
    },

    // No generator: at many watchers, what each delivery costs counts.
    watch({ room, after, start }, { signal }) {
      checkName("room", room);
      const names = () => presence.members(room);
      return hub.subscribe(
        topicOf(room),
        {
          ...placeOf("", after, start),
          ready: () => presence.ready(),
          shape: (event) => roomEventOf(event, names).watch,
        },
        signal,
      );
    },

    join(requests, { signal }) {
      return later(async () => {
        const coming = requests[Symbol.asyncIterator]();
        const { room, name, producer, place } = openingOf(await coming.next());
        const topic = topicOf(room);
        const names = () => presence.members(room);
        await presence.ready();
        // The subscription of a call that is over would end before there is a member to leave.
        signal.throwIfAborted();
        const events = hub.subscribe(
          topic,
          {
            ...place,
            shape(event) {
              const { join } = roomEventOf(event, names);
              // Members know of their own typing.
              const own = join.event.case === "typing" && join.event.value.name === name;
              return own ? undefined : join;
            },
            onEnd: () => here[Symbol.dispose](),
          },
          signal,
        );
        // Now that it can be told, and before it is told who is here.
        const here = presence.join(room, name);
        const doings = {
          async say({ text, sequence }: { text: string; sequence: bigint }) {
            const record = recordOf({ name, text, producer, sequence });
            const [appended] = await log.append(topic, [record]);
            const said = { sequence, at: appended?.cursor };
            await events.tell(create(JoinResponseSchema, { event: { case: "said", value: said } }));
          },
          typing: () => presence.typing(room, name),
        };
        // Who begins now gets what they say themselves.
        void events.placed.then(() => takePart(coming, doings, events));
        return events;
      });
    },

    import: (requests) => importMessages(requests, log),

    async listRooms({ pageSize, after }) {
      const size = readPageSize(pageSize);
      await presence.ready();
      const kept = await log.topics(ROOM_TOPICS);
      const names = kept.map((topic) => topic.slice(ROOM_TOPICS.length));
      const all = [...new Set([...names, ...presence.rooms()])].sort(compareTopics);
      const { page, more } = pageOf(all, after, size);
      return {
        rooms: page.map((name) => ({ name, members: presence.members(name).length })),
        more,
      };
    },

    async listMembers({ room, pageSize, after }) {
      checkName("room", room);
      const size = readPageSize(pageSize);
      await presence.ready();
      const { page, more } = pageOf(presence.members(room), after, size);
      return { members: page.map((name) => ({ name })), more };
    },
  };
}

function openingOf({ done, value }: IteratorResult<JoinRequest, unknown>) {
  if (done === true) throw invalid("the call has no request: its first one opens");
  const { event } = value;
  if (event.case !== "open") {
    throw invalid(`the first request is ${event.case ?? "empty"}: it must be open`);
  }
  const { room, name, producer, after, start } = event.value;
  checkName("open.room", room);
  checkName("open.name", name);
  checkName("open.producer", producer);
  return { room, name, producer, place: placeOf("open.", after, start) };
}

/** Where a subscription begins. */
function placeOf(
  prefix: string,
  after: string,
  start: Start,
): { after?: string; start?: "now" | "oldest" } {
  if (Start[start] === undefined) {
    throw invalid(`${prefix}start is ${start}: it must be START_NOW or START_OLDEST`);
  }
  if (after !== "") return { after };
  return { start: start === Start.OLDEST ? "oldest" : "now" };
}
