/** TopicLog.append() of a SQLite log, in its own process. Argument: the file. */
import { randomUUID } from "node:crypto";
import { sqliteLog } from "../../../src/topics/sqlite/sqlite.ts";
import { emit, onCommand } from "../../commands.ts";
import { type AppendJob, ROOM, TEXT } from "../job.ts";
import { run } from "../load/posters.ts";

const log = await sqliteLog(process.argv[2] as string);
const data = Buffer.from(TEXT);

onCommand<AppendJob>(({ job }) => {
  if (job === undefined) return;
  const posters = Array.from({ length: job.posters }, () => {
    const producer = randomUUID();
    let sequence = 0n;
    return async () => {
      sequence++;
      await log.append(ROOM, [{ data, id: { producer, sequence } }]);
    };
  });
  run(posters, job).catch((error) => emit({ event: "failed", error: String(error) }));
});
emit({ event: "ready" });
