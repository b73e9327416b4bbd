/**
 * Watchers of a RoomService whose calls have sessions: calls of Hawser's client, PER_CONNECTION on each connection. Unlike
 * the watchers of hawser.ts they decode what they receive.
 */
import { randomUUID } from "node:crypto";
import { RoomService } from "../../../gen/chat/v1/room_pb.js";
import { type Client, createClient, createTransport } from "../../../src/index.ts";
import { ROOM, TEXT } from "../job.ts";
import { type Crowd, type CrowdOptions, type CrowdOwner, each } from "./crowd.ts";

type Room = Client<typeof RoomService>;

export async function gather(options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  const { address, watchers, connections } = options;
  let isClosed = false;
  const onLost = (error: unknown) => {
    if (!isClosed) owner.onLost(error as Error);
  };
  const transports = Array.from({ length: connections + 1 }, () =>
    createTransport({ baseUrl: `http://${address}`, sessions: true }),
  );
  const [posting, ...watching] = transports.map((transport) =>
    createClient(RoomService, transport),
  );
  await each(watchers, (n) => {
    const opened = Promise.withResolvers<void>();
    watch(watching[n % connections] as Room, {
      onOpen: opened.resolve,
      onMessage: () => owner.onMessages(n, 1),
    }).catch(onLost);
    return opened.promise;
  });
  const producer = randomUUID();
  let sequence = 0n;
  return {
    post(count) {
      for (let n = 0; n < count; n++) {
        sequence++;
        const message = { room: ROOM, name: "bench", text: TEXT, producer, sequence };
        (posting as Room).post(message).then(() => owner.onPosted(1), onLost);
      }
    },
    close() {
      isClosed = true;
      for (const transport of transports) transport.close();
    },
  };
}

/** Watches until the transport is closed. */
async function watch(
  room: Room,
  { onOpen, onMessage }: { onOpen: () => void; onMessage: () => void },
): Promise<void> {
  let isOpen = false;
  for await (const _event of room.watch({ room: ROOM })) {
    // The first message is the opening event, not a post.
    if (isOpen) onMessage();
    else onOpen();
    isOpen = true;
  }
  throw new Error("the call of a watcher was ended");
}
