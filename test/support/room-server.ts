import { randomUUID } from "node:crypto";
import { rooms } from "../../examples/rooms/handlers.ts";
import { messageOf, recordOf, topicOf } from "../../examples/rooms/record.ts";
import { RoomService } from "../../gen/chat/v1/room_pb.js";
import { createServer, type ServiceImpl } from "../../src/server.ts";
import { memoryLog, type TopicLog } from "../../src/topics.ts";

type Service = ServiceImpl<typeof RoomService>;

export interface RoomServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** The log stays open after the server closes: pass it to the next server. */
  readonly log: TopicLog;
  /** Posts a message; only the log checks it. */
  post(room: string, name: string, text: string): Promise<void>;
  /** The messages posted to a room, as `name: text`. */
  said(room: string): Promise<string[]>;
  /** Resolves when `count` messages were posted to a room. */
  holds(room: string, messages: number): Promise<void>;
  /** Ends what runs, and closes. */
  close(): Promise<void>;
}

export interface RoomServerSetup {
  port?: number;
  log?: TopicLog;
  /** Handlers that replace those of the example. */
  change?: (service: Service) => Partial<Service>;
}

/** A server of this process with the example's rooms, for `hawser` to call. */
export async function serveRooms(setup: RoomServerSetup = {}): Promise<RoomServer> {
  const { port = 0, log = memoryLog(), change } = setup;
  const example = rooms(log);
  const service = { ...example.service, ...change?.(example.service) };
  const server = createServer({ routes: (router) => router.service(RoomService, service) });
  const bound = await server.listen({ port });
  const close = async () => {
    await server.close({ graceMs: 0 });
    await example[Symbol.asyncDispose]();
  };
  return {
    url: bound.url,
    port: bound.port as number,
    log,
    close,
    async post(room, name, text) {
      const record = recordOf({ name, text, producer: randomUUID(), sequence: 1n });
      await log.append(topicOf(room), [record]);
    },
    async said(room) {
      const said: string[] = [];
      for (let after: string | undefined; ; ) {
        const page = await log.page(topicOf(room), after);
        const last = page.at(-1);
        if (last === undefined) return said;
        for (const item of page) {
          if (item.kind !== "record") continue;
          const { name, text } = messageOf(item);
          said.push(`${name}: ${text}`);
        }
        after = last.cursor;
      }
    },
    async holds(room, messages) {
      let count = 0;
      for await (const _ of log.read(topicOf(room), undefined, new AbortController().signal)) {
        if (++count === messages) return;
      }
    },
    [Symbol.asyncDispose]: close,
  };
}
