import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { expect } from "vitest";
import {
  RoomService,
  type WatchRequest,
  type WatchResponse,
  type WatchResponseSchema,
} from "../../gen/chat/v1/room_pb.js";
import type { CallOptions, Client, ServerStream, TransportOptions } from "../../src/index.ts";
import type { ServerOptions, ServiceImpl } from "../../src/server.ts";
import { next } from "./read.ts";
import { start } from "./world.ts";

export type Event = MessageInitShape<typeof WatchResponseSchema>;

/** A watching call, at its server. */
export interface Watching {
  /** The `after` of its request: "" or a cursor. */
  readonly after: string;
  readonly context: HandlerContext;
}

/** A room whose messages are a list in this process, and whose cursors are places in it. */
export interface ToyRoom {
  readonly service: Partial<ServiceImpl<typeof RoomService>>;
  /** Every call of Watch that ever began. */
  readonly watchings: Watching[];
  /** How many of them are open. */
  readonly open: number;
  /** Adds messages: each text is its number, from 1 on. */
  post(count: number): void;
  /** Ends every open call with this error. */
  end(error: unknown): void;
}

/** @param extra what a call pushes between "opened" and the messages */
export function toyRoom(extra: readonly Event[] = []): ToyRoom {
  const watchings: Watching[] = [];
  let messages = 0;
  let open = 0;
  let changed = Promise.withResolvers<void>();
  changed.promise.catch(() => {});

  async function* watch({ after }: WatchRequest, context: HandlerContext): AsyncGenerator<Event> {
    const { signal } = context;
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    watchings.push({ after, context });
    open++;
    try {
      let at = after === "" ? 0 : Number(after);
      context.responseHeader.set("x-watching", `${watchings.length}`);
      context.responseTrailer.set("x-watching", `${watchings.length}`);
      yield { cursor: `${at}`, event: { case: "opened", value: {} } };
      yield* extra;
      while (!signal.aborted) {
        while (at < messages) {
          at++;
          yield { cursor: `${at}`, event: { case: "message", value: { text: `${at}` } } };
        }
        await Promise.race([changed.promise, aborted]);
      }
    } finally {
      open--;
    }
  }

  const change = () => {
    const before = changed;
    changed = Promise.withResolvers<void>();
    changed.promise.catch(() => {});
    return before;
  };
  return {
    service: { watch },
    watchings,
    get open() {
      return open;
    },
    post(count) {
      messages += count;
      change().resolve();
    },
    end(error) {
      change().reject(error);
    },
  };
}

/** The text of a message, and nothing for any other event. */
export function textOf({ event }: WatchResponse): string | undefined {
  return event.case === "message" ? event.value.text : undefined;
}

/** "1", "2", … */
export function texts(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `${at + 1}`);
}

/** A world with a toy room in it, which the client reaches through a link. */
export async function roomWorld(
  transport: Partial<TransportOptions> = {},
  extra: Event[] = [],
  server: Partial<ServerOptions> = {},
) {
  const room = toyRoom(extra);
  const world = await start({
    server: { ...server, routes: (router) => router.service(RoomService, room.service) },
    transport,
    linked: true,
  });
  const client = world.client(RoomService);
  return Object.assign(world, { room, watch: client.watch, watching: () => begin(client) });
}

/** A watch that has had its first response. */
export async function begin(
  { watch }: Client<typeof RoomService>,
  options?: CallOptions,
): Promise<ServerStream<WatchResponse>> {
  const call = watch({ room: "lobby" }, options);
  expect(await next(call)).toMatchObject({ event: { case: "opened" } });
  return call;
}
