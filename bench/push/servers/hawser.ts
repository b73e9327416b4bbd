/** A server with the rooms of the example server. Argument: the place of the log, as for --log. */

import { rooms } from "../../../examples/rooms/handlers.ts";
import { openLog, readLogPlace } from "../../../examples/server/open-log.ts";
import { RoomService } from "../../../gen/chat/v1/room_pb.js";
import { createServer } from "../../../src/server.ts";
import { emit, onCommand } from "../../commands.ts";

const place = readLogPlace(process.argv[2] ?? "memory");
if (place === undefined) throw new Error("the place of the log is memory or sqlite:PATH");
const { service } = rooms(await openLog(place));
const server = createServer({ routes: (router) => router.service(RoomService, service) });
const { port } = await server.listen({ host: "127.0.0.1", port: 0 });
onCommand(() => {});
emit({ event: "ready", address: `127.0.0.1:${port}` });
