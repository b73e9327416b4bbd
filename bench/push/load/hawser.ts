/** Watchers of a RoomService: calls of RoomService.Watch, PER_CONNECTION on each connection. */
import { randomUUID } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { PostRequestSchema, WatchRequestSchema } from "../../../gen/chat/v1/room_pb.js";
import { ROOM, TEXT } from "../job.ts";
import { Connection } from "./connection.ts";
import { type Crowd, type CrowdOptions, type CrowdOwner, each } from "./crowd.ts";

export async function gather(options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  const { address, watchers, connections } = options;
  const watching = Array.from(
    { length: connections },
    () => new Connection(address, "/chat.v1.RoomService/Watch", owner.onLost),
  );
  const request = toBinary(WatchRequestSchema, create(WatchRequestSchema, { room: ROOM }));
  await each(watchers, (n) => {
    const opened = Promise.withResolvers<void>();
    let isOpen = false;
    (watching[n % connections] as Connection).open(request, true, {
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
    const message = { room: ROOM, name: "bench", text: TEXT, producer, sequence };
    let answers = 0;
    posting.open(toBinary(PostRequestSchema, create(PostRequestSchema, message)), true, {
      onMessages: (count) => {
        answers += count;
      },
      onEnd() {
        if (answers === 1) owner.onPosted(1);
        else owner.onLost(new Error("a post was refused"));
      },
    });
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
