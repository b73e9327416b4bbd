import { RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { createServer } from "hawser/server";
import { sqliteLog } from "hawser/topics/sqlite";
import { rooms } from "../handlers.ts";

const { HOST: host = "127.0.0.1", PORT: port = "50051", DATA: path = "rooms.sqlite" } = process.env;

const log = await sqliteLog({ path, retention: { ageMs: 30 * 86_400_000 } });
const chat = rooms(log);
const server = createServer({
  routes: (router) => router.service(RoomService, chat.service),
  reflection: true,
  health: true,
});

const { url } = await server.listen({ host, port: Number(port) });
console.log(`listening on ${url}`);

let closing = false;

/** Open calls may finish within 10 s; watchers continue at the next server. */
async function close() {
  if (closing) return;
  closing = true;
  await server.close({ graceMs: 10_000 });
  await chat[Symbol.asyncDispose]();
  await log[Symbol.asyncDispose]();
}
process.on("SIGINT", close);
process.on("SIGTERM", close);
