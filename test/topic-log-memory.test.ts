import { memoryLog } from "../src/topics/memory.ts";
import { describeTopicLog } from "./contract/topic-log.ts";

describeTopicLog({
  name: "memory",
  can: {
    durable: false,
    shared: false,
    ownClock: true,
    retention: ["ageMs", "records", "bytes"],
    largestBytes: 4 * 1024 * 1024,
  },
  store: async (options) => ({
    open: async () => memoryLog(options),
    async [Symbol.asyncDispose]() {},
  }),
});
