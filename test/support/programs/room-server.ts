// The example's rooms in a separate process, which tests kill. They are kept in --log, as the example server has it; --beat is
// how often the node announces its members, in milliseconds. It prints its URL. With --standby it prints "loaded" first,
// and waits for SIGUSR2. SIGTERM closes it.
import { once } from "node:events";
import { parseArgs } from "node:util";
import { rooms } from "../../../examples/rooms/handlers.ts";
import { type LogPlace, openLog, readLogPlace } from "../../../examples/server/open-log.ts";
import { RoomService } from "../../../gen/chat/v1/room_pb.js";
import { createServer } from "../../../src/server.ts";

const { values } = parseArgs({
  options: {
    log: { type: "string", default: "memory" },
    beat: { type: "string", default: "10000" },
    standby: { type: "boolean", default: false },
  },
});
if (values.standby) {
  await import("../../../src/topics/sqlite/sqlite.ts");
  const go = once(process, "SIGUSR2");
  const awake = setInterval(() => {}, 1_000);
  process.stdout.write("loaded\n");
  await go;
  clearInterval(awake);
}
await using log = await openLog(readLogPlace(values.log) as LogPlace);
await using served = rooms(log, { beatMs: Number(values.beat) });
const server = createServer({ routes: (router) => router.service(RoomService, served.service) });
const { url } = await server.listen({ port: 0 });
process.stdout.write(`${url}\n`);
await once(process, "SIGTERM");
await server.close();
