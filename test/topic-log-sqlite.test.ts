import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { describeTopicLog } from "./contract/topic-log.ts";
import "./support/compile-cache.ts";

describeTopicLog({
  name: "sqlite",
  can: {
    durable: true,
    shared: false,
    ownClock: true,
    retention: ["ageMs", "records", "bytes"],
    largestBytes: 4 * 1024 * 1024,
  },
  async store(options) {
    const folder = await mkdtemp(join(tmpdir(), "hawser-log-"));
    return {
      open: () => sqliteLog({ path: join(folder, "log.db"), ...options }),
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
    };
  },
});
