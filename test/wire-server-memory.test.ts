import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { Code } from "../src/server.ts";
import { stillAt } from "./support/gate.ts";
import { countBuffers, memoryInUse } from "./support/memory.ts";
import { message, otherCall, request, text, watchedServer } from "./support/watched-server.ts";
import { data, envelope, frame, Http2Code, messages, rst, Type } from "./support/wire.ts";

// What a hostile client can make the server hold.

/** Frames of one byte, and of unknown types, are floods otherwise. */
const withoutAbuse = { abuse: { budget: 1_000_000 } };

const MiB = 2 ** 20;

it("headers without end take no memory", async () => {
  await using world = await watchedServer();
  const { stillWorks } = await otherCall(await world.dial());
  const peer = await world.dial();
  const used = await memoryInUse();
  peer.write(frame(Type.HEADERS, 0, 1, Buffer.of(0x82)));
  const more = frame(
    Type.CONTINUATION,
    0,
    1,
    Buffer.concat([Buffer.of(0, 1, 0x78, 0x7e, 0x80, 0x7d), Buffer.alloc(16_000, 0x61)]),
  );
  for (let n = 0; n < 1000 && !peer.socket.destroyed; n++) {
    peer.write(more);
    await new Promise((turn) => setImmediate(turn));
  }
  await peer.closed;
  expect((await memoryInUse()) - used).toBeLessThan(4 * MiB);
  await stillWorks();
});

it("a length of 4 GiB allocates nothing", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const allocated = await countBuffers();
  for (let stream = 1; stream < 200; stream += 2) {
    peer.write(request(stream, "Chat"), data(stream, envelope(text(""), 0, 0xffffffff)));
  }
  for (let stream = 1; stream < 200; stream += 2) {
    expect((await peer.ended(stream)).status).toBe(Code.ResourceExhausted);
  }
  expect(allocated()).toBeLessThan(MiB);
  await world.idle();
});

it("a length within the limit allocates no more than the bytes that come", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const allocated = await countBuffers();
  for (let stream = 1; stream < 400; stream += 2) {
    peer.write(request(stream, "Chat"), data(stream, envelope(text("x"), 0, 4 * MiB)));
  }
  await peer.ping();
  expect(allocated()).toBeLessThan(16 * MiB);
});

it("a message in DATA frames of one byte takes little memory", async () => {
  await using world = await watchedServer(withoutAbuse);
  const peer = await world.dial();
  const content = "x".repeat(64 * 1024);
  const used = await memoryInUse();
  peer.write(request(1, "Chat"));
  await peer.flow(1, message(content).subarray(0, -1), 1);
  await peer.ping();
  expect((await memoryInUse()) - used).toBeLessThan(4 * MiB);
  peer.write(data(1, Buffer.from("x"), true));
  const reply = await peer.ended(1);
  expect(reply.status).toBe(0);
  expect(messages(reply.body)).toEqual([text(content)]);
});

it("a byte of a message does not keep the memory of other bytes that came with it", async () => {
  await using world = await watchedServer(withoutAbuse);
  const peer = await world.dial();
  const junk = frame(Type.UNKNOWN, 0, 0, Buffer.alloc(16_384));
  const used = await memoryInUse();
  peer.write(request(1, "Chat"), request(3, "Chat", { "x-handler": "idle" }));
  // A large message on a stream that is read, many small ones on a stream that is not.
  peer.write(data(1, envelope(text(""), 0, 4000)));
  for (let n = 0; n < 1000; n++) {
    peer.write(data(1, Buffer.of(0x61)), data(3, envelope(Buffer.alloc(0))), junk, junk, junk);
    if (n % 10 === 0) await peer.ping();
  }
  await peer.ping();
  // Of 48 MiB. What has just arrived is copied after two tenths of a second, or when 8 MiB have arrived since.
  expect((await memoryInUse()) - used).toBeLessThan(12 * MiB);
  const kept = async () => (await memoryInUse()) - used;
  await expect.poll(kept, { timeout: 5000 }).toBeLessThan(2 * MiB);
});

it("a handler that does not read makes its client wait, and takes no memory", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const offer = Buffer.concat(new Array(64).fill(message("x".repeat(MiB))));
  const used = await memoryInUse();
  peer.write(request(1, "Chat", { "x-handler": "idle" }));
  const sent = peer.flow(1, offer);
  await stillAt(() => peer.frames.length);
  expect((await memoryInUse()) - used).toBeLessThan(8 * MiB);
  peer.write(rst(1, Http2Code.CANCEL));
  await world.idle();
  await peer[Symbol.asyncDispose]();
  await expect(sent).rejects.toThrow("the connection ended");
});

it("a handler that does not read takes no memory either where small frames of another stream precede each of its frames", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const noise = Buffer.concat(new Array(20).fill(envelope(Buffer.alloc(0))));
  const offer = message("x".repeat(16_000));
  const used = await memoryInUse();
  peer.write(request(1, "Chat", { "x-handler": "idle" }), request(3, "Chat"));
  let sent = 0;
  const flood = async () => {
    for (; sent < 64 * MiB; sent += offer.length) {
      await Promise.all([peer.flow(3, noise, 1), peer.flow(1, offer)]);
    }
  };
  const flooded = flood();
  await stillAt(() => sent);
  expect(sent).toBeLessThan(MiB);
  expect((await memoryInUse()) - used).toBeLessThan(8 * MiB);
  await peer[Symbol.asyncDispose]();
  await expect(flooded).rejects.toThrow("the connection ended");
});

it("gzip that inflates a thousandfold takes no more memory than readMaxBytes", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const bomb = envelope(gzipSync(Buffer.alloc(64 * MiB)), 1);
  const allocated = await countBuffers();
  peer.write(request(1, "Chat", { "grpc-encoding": "gzip" }));
  await peer.flow(1, bomb);
  expect((await peer.ended(1)).status).toBe(Code.ResourceExhausted);
  expect(allocated()).toBeLessThan(16 * MiB);
});
