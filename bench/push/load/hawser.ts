/**
 * Watchers of a RoomService: calls of RoomService.Watch, PER_CONNECTION on each connection. A watcher is a plain call, or a
 * call in a session (session.ts).
 */
import { randomUUID } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { PostRequestSchema, WatchRequestSchema } from "../../../gen/chat/v1/room_pb.js";
import { ROOM, TEXT } from "../job.ts";
import { type CallOwner, Connection } from "./connection.ts";
import { type Crowd, type CrowdOptions, type CrowdOwner, each } from "./crowd.ts";
import { Sessions } from "./session.ts";

/** Opens the call of a watcher. */
type Open = (connection: Connection, message: Uint8Array, owner: CallOwner) => void;

export function gather(options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  const open: Open = (connection, message, call) =>
    connection.open({ message, isLast: true }, call);
  return gatherBy(open, options, owner);
}

export async function gatherInSessions(options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  const sessions = await Sessions.at(options.address);
  let isClosing = false;
  const open: Open = (connection, message, call) => sessions.open(connection, message, call);
  const crowd = await gatherBy(open, options, {
    onMessages: owner.onMessages,
    onPosted: owner.onPosted,
    onLost(error) {
      if (!isClosing) owner.onLost(error);
    },
  });
  return {
    post: (count) => crowd.post(count),
    async close() {
      isClosing = true;
      await sessions.close();
      await crowd.close();
    },
  };
}

async function gatherBy(open: Open, options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  const { address, watchers, connections } = options;
  const watching = Array.from(
    { length: connections },
    () => new Connection(address, "/chat.v1.RoomService/Watch", owner.onLost),
  );
  const request = toBinary(WatchRequestSchema, create(WatchRequestSchema, { room: ROOM }));
  await each(watchers, (n) => {
    const opened = Promise.withResolvers<void>();
    let isOpen = false;
    open(watching[n % connections] as Connection, request, {
      onMessages(count) {
        if (isOpen) return owner.onMessages(n, count);
        // The first message is the opening event, not a post.
        isOpen = true;
        opened.resolve();
        if (count > 1) owner.onMessages(n, count - 1);
      },
      onEnd: () => owner.onLost(new Error(`the call of watcher ${n} was ended`)),
    });
    return opened.promise;
  });

  const posting = new Connection(address, "/chat.v1.RoomService/Post", owner.onLost);
  const producer = randomUUID();
  let sequence = 0n;
  const post = () => {
    sequence++;
    const request = { room: ROOM, name: "bench", text: TEXT, producer, sequence };
    const message = toBinary(PostRequestSchema, create(PostRequestSchema, request));
    let answers = 0;
    posting.open(
      { message, isLast: true },
      {
        onMessages: (count) => {
          answers += count;
        },
        onEnd() {
          if (answers === 1) owner.onPosted(1);
          else owner.onLost(new Error("a post was refused"));
        },
      },
    );
  };
  return {
    post(count) {
      for (let n = 0; n < count; n++) post();
    },
    close() {
      for (const connection of [posting, ...watching]) connection.close();
    },
  };
}
