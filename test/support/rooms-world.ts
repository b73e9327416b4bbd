import { type RoomOptions, rooms } from "../../examples/rooms/handlers.ts";
import {
  type JoinResponse,
  type Member,
  RoomService,
  type WatchResponse,
} from "../../gen/chat/v1/room_pb.js";
import type { Client } from "../../src/index.ts";
import { memoryLog, type TopicLog } from "../../src/topics.ts";
import { type Setup, start, type World } from "./world.ts";

export interface RoomsWorld extends World {
  readonly log: TopicLog;
  readonly rooms: Client<typeof RoomService>;
  /** Adds messages "1", "2" … to a room, by ann; returns their cursors. */
  post(room: string, count: number, from?: number): Promise<string[]>;
}

/** A server of rooms, and a client of it. A log that is given stays the test's. */
export async function startRooms(
  setup: Setup & RoomOptions & { log?: TopicLog } = {},
): Promise<RoomsWorld> {
  const { log = memoryLog(), beatMs = 10_000, maxListeners, maxListenersInRoom, ...rest } = setup;
  const served = rooms(log, {
    beatMs,
    ...(maxListeners !== undefined && { maxListeners }),
    ...(maxListenersInRoom !== undefined && { maxListenersInRoom }),
  });
  const world = await start({
    ...rest,
    server: { routes: (router) => router.service(RoomService, served.service), ...rest.server },
  });
  const client = world.client(RoomService);
  const { server, url, transport, greeter, logged } = world;
  return {
    server,
    url,
    transport,
    greeter,
    logged,
    client: (service) => world.client(service),
    get link() {
      return world.link;
    },
    log,
    rooms: client,
    async post(room, count, from = 1) {
      const cursors: string[] = [];
      for (let n = from; n < from + count; n++) {
        const message = { name: "ann", text: `${n}`, producer: "ann's", sequence: BigInt(n) };
        cursors.push((await client.post({ room, ...message })).cursor);
      }
      return cursors;
    },
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]();
      await served[Symbol.asyncDispose]();
      if (setup.log === undefined) await log[Symbol.asyncDispose]();
    },
  };
}

/** An event in short: `said 1`, `joined ann`, `left ann, bob`, `here ann, bob`, `gap` … */
export function short({ event }: WatchResponse | JoinResponse): string {
  switch (event.case) {
    case "opened":
      return `here ${event.value.members.map(({ name }) => name).join(", ")}`.trim();
    case "message":
      return `${event.value.name}: ${event.value.text}`;
    case "membersChanged": {
      const { joined, left } = event.value;
      return [shortOf("joined", joined), shortOf("left", left)].filter(Boolean).join(" ");
    }
    case "typing":
      return `typing ${event.value.name}`;
    case "said":
      return `said ${event.value.sequence}`;
    default:
      return `${event.case}`;
  }
}

function shortOf(what: string, members: readonly Member[]): string {
  return members.length === 0 ? "" : `${what} ${members.map(({ name }) => name).join(", ")}`;
}

/** Takes what comes; what came is there to be looked at. */
export function drain<T>(values: AsyncIterable<T>): { came: T[]; over: Promise<unknown> } {
  const came: T[] = [];
  const over = (async () => {
    for await (const value of values) came.push(value);
  })().catch((error: unknown) => error);
  return { came, over };
}
