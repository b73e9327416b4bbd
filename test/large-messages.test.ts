/** Messages of many sizes that follow each other: what each end keeps of them stays as it was while later ones come. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { TestService } from "./interop/gen/grpc/testing/test_pb.js";
import { all } from "./support/read.ts";
import { certs } from "./support/tls.ts";
import type { Setup } from "./support/world.ts";
import { start } from "./support/world.ts";

const setups: Record<string, Setup> = {
  "in cleartext": {},
  "over TLS": { server: { tls: certs.server }, transport: { tls: { ca: certs.ca } } },
};

/** Sizes of messages that are in one chunk of the socket with others, and of those that take several chunks. */
const SIZES = [0, 1, 20, 1000, 16_380, 16_390, 40_000, 66_000, 150_000, 700_000];

/** Calls whose handler answers only when it has all requests. */
function routesKeeping(kept: Uint8Array[]): Setup["server"] {
  return {
    routes: (router) =>
      router.service(TestService, {
        async *fullDuplexCall(requests) {
          for await (const { payload } of requests) kept.push(payload?.body as Uint8Array);
          for (const body of kept) yield { payload: { body } };
        },
      }),
  };
}

test.each([
  ["in cleartext", false],
  ["in cleartext", true],
  ["over TLS", false],
])(
  "the bytes of messages stay as they were while later ones come (%s, compressed: %s)",
  async (how, compress) => {
    const kept: Uint8Array[] = [];
    const { server, transport } = setups[how] as Setup;
    await using world = await start({
      server: { ...server, ...routesKeeping(kept) },
      transport: { ...transport },
    });
    const sent = Array.from({ length: 40 }, (_, n) =>
      randomBytes(SIZES[(n * 7) % SIZES.length] as number),
    );
    const call = world.client(TestService).fullDuplexCall({ compress });
    const answers = all(call);
    for (const body of sent) await call.send({ payload: { body } });
    call.closeSend();
    const received = (await answers).map(({ payload }) => payload?.body as Uint8Array);
    const differing = (bodies: readonly Uint8Array[]) =>
      sent.flatMap((body, n) => (Buffer.compare(body, bodies[n] as Uint8Array) === 0 ? [] : [n]));
    expect(kept).toHaveLength(sent.length);
    expect([differing(kept), differing(received)]).toEqual([[], []]);
  },
);

test("texts of messages of many sizes arrive as they were sent, on many streams at the same time", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: content };
      },
    },
  });
  const chats = Array.from({ length: 10 }, async (_, stream) => {
    const sent = SIZES.map((size, n) => `${stream} ${n} `.padEnd(size, "ähoy "));
    const call = world.greeter.chat();
    const answers = all(call);
    for (const content of sent) await call.send({ content });
    call.closeSend();
    const replies = (await answers).map(({ reply }) => reply);
    return sent.filter((content, n) => content !== replies[n]).length;
  });
  expect(await Promise.all(chats)).toEqual(chats.map(() => 0));
});
