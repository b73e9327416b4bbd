import { create } from "@bufbuild/protobuf";
import {
  type JoinRequest,
  JoinResponseSchema,
  type RoomService,
  Start,
} from "hawser/gen/chat/v1/room_pb.js";
import { caller, type HandlerContext, type Logger, later, type ServiceImpl } from "hawser/server";
import {
  createHub,
  type Hub,
  type SubscribeOptions,
  type Subscription,
  type TopicLog,
} from "hawser/topics";
import { checkName, checkSequence, checkText, invalid } from "./checks.ts";
import { importMessages } from "./import-messages.ts";
import { type ListenerLimits, Listeners } from "./listeners.ts";
import { ownAppends } from "./own-appends.ts";
import { merged, pageOf, readPageSize } from "./pages.ts";
import { Presence } from "./presence.ts";
import { producersOf } from "./producer.ts";
import { messageOf, ROOM_TOPICS, recordOf, topicOf } from "./record.ts";
import { changedEventOf, RoomEvent, type RoomEventFields, RoomEvents } from "./room-event.ts";
import { takePart } from "./take-part.ts";

/** Chat rooms as proto/chat/v1/room.proto describes them. Dispose of them after the server, before the log. */
export interface Rooms extends AsyncDisposable {
  readonly service: ServiceImpl<typeof RoomService>;
}

export interface RoomOptions extends ListenerLimits {
  /**
   * The time between two rosters of this node; members of a node that is silent for three times as
   * long are removed. Default: 10 s.
   */
  readonly beatMs?: number;
  /** Warned once if the topic of presence has records of another program. Default: `console`. */
  readonly logger?: Pick<Logger, "warn">;
}

/**
 * Makes rooms that keep their messages in a log. Several servers may serve the same rooms, if their
 * logs share one store.
 */
export function rooms(log: TopicLog, options: RoomOptions = {}): Rooms {
  const hub: Hub<RoomEvent, RoomEvent> = createHub<RoomEvent, RoomEvent>(log, {
    make: (entry) => new RoomEvent(entry.cursor, { case: "message", value: messageOf(entry) }),
  });
  const listeners = new Listeners(options);
  const tell = (room: string, event: RoomEventFields, fleeting: boolean) =>
    hub.announce(topicOf(room), new RoomEvent("", event), { fleeting });
  const presence = new Presence(log, {
    ...options,
    listeners: (room) => listeners.count(room),
    onChange: (room, change) => tell(room, changedEventOf(change), false),
    onTyping: (room, name) => tell(room, { case: "typing", value: { name } }, true),
  });
  return {
    service: roomService({ log, hub, presence, listeners }),
    async [Symbol.asyncDispose]() {
      await presence[Symbol.asyncDispose]();
      await hub[Symbol.asyncDispose]();
    },
  };
}

interface RoomParts {
  readonly log: TopicLog;
  readonly hub: Hub<RoomEvent, RoomEvent>;
  readonly presence: Presence;
  readonly listeners: Listeners;
}

function roomService({
  log,
  hub,
  presence,
  listeners,
}: RoomParts): ServiceImpl<typeof RoomService> {
  const roomEvents = new RoomEvents();

  /** Subscribes a call to a room. Throws RESOURCE_EXHAUSTED if its caller may listen to no more. */
  function listen<U>(
    room: string,
    context: HandlerContext,
    options: SubscribeOptions<RoomEvent, RoomEvent, U>,
  ): Subscription<U> {
    const place = listeners.enter(room, caller(context));
    const onEnd = () => {
      place[Symbol.dispose]();
      options.onEnd?.();
    };
    try {
      return hub.subscribe(topicOf(room), { ...options, onEnd }, context.signal);
    } catch (error) {
      place[Symbol.dispose]();
      throw error;
    }
  }

  return {
    async post({ room, name, text, producer: given, sequence }, context) {
      checkName("room", room);
      checkName("name", name);
      checkText("text", text);
      checkName("producer", given);
      checkSequence("sequence", sequence);
      const producer = producersOf(context)(given);
      const record = recordOf({ name, text, producer, sequence });
      const [appended] = await ownAppends(log, context).append(topicOf(room), [record]);
      return { cursor: appended?.cursor, repeated: appended?.repeated };
    },

    // watch() is not a generator: with many watchers the cost of each delivery counts.
    watch({ room, after, start }, context) {
      checkName("room", room);
      const names = () => presence.members(room);
      return listen(room, context, {
        ...placeOf("", after, start),
        ready: () => presence.ready(),
        shape: (event) => roomEvents.of(event, names).watch,
      });
    },

    join(requests, context) {
      const { signal } = context;
      return later(async () => {
        const coming = requests[Symbol.asyncIterator]();
        const { room, name, producer: given, place } = openingOf(await coming.next());
        const producer = producersOf(context)(given);
        const topic = topicOf(room);
        const appends = ownAppends(log, context);
        const names = () => presence.members(room);
        await presence.ready();
        // The subscription of a call that has ended would end before the member has joined.
        signal.throwIfAborted();
        const events = listen(room, context, {
          ...place,
          shape(event) {
            const { join } = roomEvents.of(event, names);
            // A member does not get its own typing.
            const own = join.event.case === "typing" && join.event.value.name === name;
            return own ? undefined : join;
          },
          onEnd: () => here[Symbol.dispose](),
        });
        // After the subscription exists, and before its opening names the members.
        const here = presence.join(room, name);
        const actions = {
          async say({ text, sequence }: { text: string; sequence: bigint }) {
            const record = recordOf({ name, text, producer, sequence });
            const [appended] = await appends.append(topic, [record]);
            const said = { sequence, at: appended?.cursor };
            await events.tell(create(JoinResponseSchema, { event: { case: "said", value: said } }));
          },
          typing: () => presence.typing(room, name),
        };
        // A member that begins now gets its own messages.
        void events.placed.then(() => takePart(coming, actions, events));
        return events;
      });
    },

    import: (requests, context) =>
      importMessages(requests, ownAppends(log, context), producersOf(context)),

    async listRooms({ pageSize, after }) {
      const size = readPageSize(pageSize);
      await presence.ready();
      // One more than asked for shows whether there are more.
      const from = { after: after === "" ? "" : topicOf(after), limit: size + 1 };
      const kept = (await log.topics(ROOM_TOPICS, from)).map((topic) =>
        topic.slice(ROOM_TOPICS.length),
      );
      const present = presence.rooms(after, size + 1);
      const { page, more } = pageOf(merged(kept, present), after, size);
      // Both lists are in order: most rooms have no members, and are not looked up.
      let at = 0;
      const rooms = page.map((name) => {
        const isPresent = present[at] === name;
        if (isPresent) at++;
        return { name, members: isPresent ? presence.members(name).length : 0 };
      });
      return { rooms, more };
    },

    async listMembers({ room, pageSize, after }) {
      checkName("room", room);
      const size = readPageSize(pageSize);
      await presence.ready();
      const all = presence.members(room);
      const { page, more } = pageOf(all, after, size);
      return { members: page.map((name) => ({ name })), more, count: all.length };
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

/** The place where a subscription begins. */
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
