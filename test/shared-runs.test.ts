/** Messages of encodedOnce that many calls send in the same order: they share the bytes, and each call gets its own messages. */
import { expect, test } from "vitest";
import { Greeter, NotificationSchema } from "../gen/example/greeter_pb.js";
import { createClient, createTransport, type Transport } from "../src/index.ts";
import { encodedOnce } from "../src/server.ts";
import { openLink } from "../src/testing/link.ts";
import { createHub, memoryLog } from "../src/topics.ts";
import { until } from "./support/gate.ts";
import { start } from "./support/world.ts";

const WAVES = 60;
const POSTS = 20;

test("watchers in sessions get every message of their topics once and in order while connections are cut, and plain ones too", async () => {
  const log = memoryLog();
  await using hub = createHub(log, {
    make: ({ data }) => encodedOnce(NotificationSchema, { content: Buffer.from(data).toString() }),
  });
  let watching = 0;
  await using world = await start({
    greeter: {
      subscribe({ count }, { signal }) {
        watching++;
        // The opening has no content.
        const shape = (event: { kind: string; value?: unknown }) =>
          event.kind === "record" ? (event.value as { content: string }) : undefined;
        return hub.subscribe(`topic-${count % 2}`, { start: "oldest", shape }, signal);
      },
    },
  });
  await using link = await openLink({ host: "127.0.0.1", port: Number(new URL(world.url).port) });
  await using cut = createTransport({ baseUrl: link.url });
  await using whole = createTransport({ baseUrl: world.url, sessions: false });
  const total = WAVES * POSTS;
  const watch = async (transport: Transport, count: number) => {
    const got: string[] = [];
    for await (const { content } of createClient(Greeter, transport).subscribe({ count })) {
      if (got.push(content) === total) break;
    }
    return got;
  };
  const transports = [cut, cut, cut, cut, whole, whole];
  const watchers = transports.map((transport, n) => watch(transport, n));
  await until("all watch", () => watching === transports.length);

  let cuts = 0;
  for (let wave = 0; wave < WAVES; wave++) {
    if (wave % 6 === 0) link.armCut({ direction: "down", bytes: 900, kind: "rst" }, () => cuts++);
    for (const n of [0, 1]) {
      for (let post = 0; post < POSTS; post++) {
        const data = Buffer.from(`${n}: ${wave * POSTS + post} ${"x".repeat((wave * post) % 90)}`);
        void log.append(`topic-${n}`, [{ data }]);
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const [n, got] of (await Promise.all(watchers)).entries()) {
    expect(got.map((content) => content.replace(/ x*$/, ""))).toEqual(
      Array.from({ length: total }, (_, post) => `${n % 2}: ${post}`),
    );
  }
  expect(cuts).toBeGreaterThan(0);
});
