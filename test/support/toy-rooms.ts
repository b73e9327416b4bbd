import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampNow } from "@bufbuild/protobuf/wkt";
import {
  type JoinRequest_Open,
  type JoinResponseSchema,
  MessageSchema,
  type RoomService,
  Start,
} from "../../gen/chat/v1/room_pb.js";
import type { ServiceImpl } from "../../src/server.ts";

type Response = MessageInitShape<typeof JoinResponseSchema>;

/**
 * Rooms in memory, without limits or checks: what a test needs to see what a client of rooms does. They outlive their
 * server, as rooms of a log on disk do. A cursor is the count of the messages before it.
 */
export interface ToyRooms extends ServiceImpl<typeof RoomService> {
  /** What was posted, by room: `name: text`. */
  said(room: string): string[];
  say(room: string, name: string, text: string): void;
}

interface Room {
  readonly messages: { name: string; text: string; time: Timestamp }[];
  readonly members: string[];
  /** Which message a producer's sequence became. */
  readonly known: Map<string, number>;
  readonly listeners: Set<Mailbox>;
}

export function toyRooms(): ToyRooms {
  const rooms = new Map<string, Room>();
  const roomOf = (name: string): Room => {
    const room = rooms.get(name) ?? {
      messages: [],
      members: [],
      known: new Map(),
      listeners: new Set(),
    };
    rooms.set(name, room);
    return room;
  };
  const tell = (room: Room, response: Response) => {
    for (const listener of room.listeners) listener.put(response);
  };
  const add = (room: Room, name: string, text: string, id: string) => {
    const before = room.known.get(id);
    if (before !== undefined) return { cursor: `${before}`, repeated: true };
    const message = create(MessageSchema, { name, text, time: timestampNow() });
    const at = room.messages.push(message as Room["messages"][number]);
    room.known.set(id, at);
    tell(room, { cursor: `${at}`, event: { case: "message", value: message } });
    return { cursor: `${at}`, repeated: false };
  };
  /** What a listener gets first: who is there, and what was said behind its cursor. */
  const enter = (room: Room, { after, start }: { after: string; start: Start }): Mailbox => {
    const from = after !== "" ? Number(after) : start === Start.OLDEST ? 0 : room.messages.length;
    const mailbox = new Mailbox();
    const members = room.members.map((name) => ({ name }));
    mailbox.put({ cursor: `${from}`, event: { case: "opened", value: { members } } });
    for (let at = from; at < room.messages.length; at++) {
      const value = room.messages[at]!;
      mailbox.put({ cursor: `${at + 1}`, event: { case: "message", value } });
    }
    room.listeners.add(mailbox);
    return mailbox;
  };

  return {
    said: (room) => roomOf(room).messages.map(({ name, text }) => `${name}: ${text}`),

    say: (room, name, text) => void add(roomOf(room), name, text, randomUUID()),

    post({ room, name, text, producer, sequence }) {
      return add(roomOf(room), name, text, `${producer} ${sequence}`);
    },

    async *watch(request, { signal }) {
      const room = roomOf(request.room);
      const mailbox = enter(room, request);
      try {
        yield* mailbox.until(signal) as AsyncGenerator<never>;
      } finally {
        room.listeners.delete(mailbox);
      }
    },

    async *join(requests, { signal }) {
      const iterator = requests[Symbol.asyncIterator]();
      const first = (await iterator.next()).value;
      const { name, room: roomName, producer, ...begin } = first.event.value as JoinRequest_Open;
      const room = roomOf(roomName);
      room.members.push(name);
      tell(room, { event: { case: "joined", value: { name } } });
      const mailbox = enter(room, begin);
      const hear = async () => {
        for await (const { event } of { [Symbol.asyncIterator]: () => iterator }) {
          if (event.case === "say") {
            const { text, sequence } = event.value;
            const { cursor: at } = add(room, name, text, `${producer} ${sequence}`);
            mailbox.put({ event: { case: "said", value: { sequence, at } } });
          } else if (event.case === "typing") {
            for (const other of room.listeners) {
              if (other !== mailbox) other.put({ event: { case: "typing", value: { name } } });
            }
          }
        }
        mailbox.end();
      };
      hear().catch(() => mailbox.end());
      try {
        yield* mailbox.until(signal);
      } finally {
        room.listeners.delete(mailbox);
        room.members.splice(room.members.indexOf(name), 1);
        tell(room, { event: { case: "left", value: { name } } });
      }
    },

    async import(requests) {
      const opening = { room: "", name: "", producer: "" };
      let sequence = 0n;
      let repeated = 0n;
      let messages = 0n;
      let cursor = "";
      for await (const request of requests) {
        for (const field of ["room", "name", "producer"] as const) {
          if (request[field] !== "") opening[field] = request[field];
        }
        sequence = request.sequence || sequence + 1n;
        const { room, name, producer } = opening;
        const added = add(roomOf(room), name, request.text, `${producer} ${sequence}`);
        cursor = added.cursor;
        messages++;
        if (added.repeated) repeated++;
      }
      return { messages, repeated, cursor };
    },

    listRooms({ pageSize, after }) {
      const names = [...rooms.keys()].sort().filter((name) => name > after);
      const page = names.slice(0, pageSize || 100);
      return {
        rooms: page.map((name) => ({ name, members: roomOf(name).members.length })),
        more: page.length < names.length,
      };
    },

    listMembers({ room }) {
      return {
        members: roomOf(room)
          .members.toSorted()
          .map((name) => ({ name })),
      };
    },
  };
}

/** What waits for a listener. */
class Mailbox {
  readonly #waiting: Response[] = [];
  #ended = false;
  #changed = Promise.withResolvers<void>();

  put(response: Response): void {
    this.#waiting.push(response);
    this.#changed.resolve();
  }

  end(): void {
    this.#ended = true;
    this.#changed.resolve();
  }

  async *until(signal: AbortSignal): AsyncGenerator<Response> {
    const end = () => this.end();
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) yield next;
      else if (this.#ended) return;
      else {
        await this.#changed.promise;
        this.#changed = Promise.withResolvers();
      }
    }
  }
}
