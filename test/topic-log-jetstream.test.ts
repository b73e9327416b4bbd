import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe } from "vitest";
import { jetStreamLog } from "../src/topics/jetstream/jetstream.ts";
import { describeTopicLog } from "./contract/topic-log.ts";
import { findNats, type Nats, startNats } from "./support/nats.ts";

const program = findNats();
if (program === undefined) {
  console.log("no nats-server: the tests of JetStream are skipped (apt-get install nats-server)");
}

describe.skipIf(program === undefined)("JetStream", () => {
  let nats: Nats;

  beforeAll(async () => {
    nats = await startNats(program as string);
  });
  afterAll(() => nats[Symbol.asyncDispose]());

  describeTopicLog({
    name: "jetstream",
    can: {
      durable: true,
      shared: true,
      ownClock: false,
      retention: ["ageMs", "records"],
      // max_payload is 1 MiB, with the headers.
      largestBytes: 2 ** 20 - 128,
    },
    store: async ({ retention } = {}) => {
      const stream = `test-${randomBytes(6).toString("hex")}`;
      return {
        open: () => jetStreamLog({ servers: nats.url, stream, retention }),
        async [Symbol.asyncDispose]() {},
      };
    },
  });
});
