/**
 * One of the servers behind HAProxy, in a process that is killed. argv[2] is its port, argv[3] its name, which it sends
 * as leading metadata `x-server`. It prints "listening ADDRESS", and ends when its standard input does.
 */
import { setTimeout } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  RoomService,
  type WatchRequest,
  type WatchResponseSchema,
} from "../../gen/chat/v1/room_pb.js";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createServer, type HandlerContext } from "../../src/server.ts";
import { switchedGreeter } from "./greeter.ts";

const [, , port, name = ""] = process.argv;

/** How long Post holds the first attempt of a call whose text is "hold", in milliseconds. */
const HOLD_MS = 5_000;

/**
 * Pushes 1, 2, 3 …, which any server can continue: the room is "START/INTERVAL", and number n is there n intervals
 * after the start, both in milliseconds.
 */
async function* watch(
  { room, after }: WatchRequest,
  { signal }: HandlerContext,
): AsyncGenerator<MessageInitShape<typeof WatchResponseSchema>> {
  const [start = 0, intervalMs = 0] = room.split("/").map(Number);
  let at = after === "" ? 0 : Number(after);
  yield { cursor: `${at}`, event: { case: "opened", value: {} } };
  for (;;) {
    at++;
    const leftMs = start + at * intervalMs - Date.now();
    if (leftMs > 0) await setTimeout(leftMs, undefined, { signal });
    yield { cursor: `${at}`, event: { case: "message", value: { text: `${at}` } } };
  }
}

const greeter = switchedGreeter();
const server = createServer({
  routes: (router) => {
    router.service(Greeter, {
      ...greeter,
      chat: (requests, context) => {
        context.responseHeader.set("x-server", name);
        return greeter.chat(requests, context);
      },
    });
    router.service(RoomService, {
      watch,
      async post({ text }, { requestHeader, signal }) {
        const attempts = requestHeader.get("grpc-previous-rpc-attempts") ?? "0";
        if (text === "hold" && attempts === "0") await setTimeout(HOLD_MS, undefined, { signal });
        return { cursor: attempts };
      },
    });
  },
});
const address = await server.listen({ port: Number(port) });
console.log(`listening ${address.host}:${address.port}`);
process.stdin.resume().on("end", () => process.exit(0));
