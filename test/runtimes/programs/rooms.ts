/** Rooms in the SQLite file that is the argument, served until a kill, or until the end of the standard input. */
import { RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { createServer } from "hawser/server";
import { sqliteLog } from "hawser/topics/sqlite";
import { rooms } from "../../../examples/rooms/handlers.ts";

process.stdin.resume().once("end", () => process.exit());
const log = await sqliteLog({ path: process.argv[2] ?? "" });
const { service } = rooms(log);
const server = createServer({ routes: (router) => router.service(RoomService, service) });
const { url } = await server.listen({ port: 0 });
process.stdout.write(`${JSON.stringify({ http: url })}\n`);
