/** What engines hold in memory, whatever their peers send. */
import { expect, test, vi } from "vitest";
import { encodeHeaders } from "../support/hpack.ts";
import { memoryInUse } from "../support/memory.ts";
import { Flag, frame, PREFACE, rst, settings, Type } from "../support/wire.ts";
import { End, type EndOptions } from "./support/end.ts";
import { grpcServer } from "./support/grpc-server.ts";
import { requestFrame } from "./support/raw-peer.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

const KIB = 1024;
const SERVERS = 6;

function startServer(options: Partial<EndOptions> = grpcServer()): End {
  const server = new End({ role: "server", ...options });
  write(server, PREFACE, settings(), frame(Type.SETTINGS, Flag.ACK, 0));
  return server;
}

/** Writes to a server, and forgets its answers and the streams that have ended. */
function write(server: End, ...parts: Buffer[]): void {
  if (server.end === undefined)
    server.receive(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts));
  server.collect();
  server.output.length = 0;
  const { openStreams } = server;
  server.streams.length = 0;
  server.streams.push(...openStreams);
}

/** The memory that each of some servers holds after a client has written, in bytes, with the test's log of it. */
async function heldBy(run: (server: End) => void, servers = SERVERS): Promise<number> {
  // Code is compiled, and shared tables are made, before it counts.
  run(startServer());
  const all: End[] = [];
  const before = await memoryInUse();
  for (let n = 0; n < servers; n++) {
    const server = startServer();
    run(server);
    all.push(server);
  }
  const held = (await memoryInUse()) - before;
  expect(all.flatMap(({ violations }) => violations)).toEqual([]);
  return held / servers;
}

test("an idle connection holds less than 12 KiB", async () => {
  expect(await heldBy(() => {}, 50)).toBeLessThan(12 * KIB);
});

test("an idle stream holds less than 4 KiB", async () => {
  const streams = 100;
  const held = await heldBy((server) => {
    const requests = Array.from({ length: streams }, (_, n) => requestFrame(2 * n + 1, "/silent"));
    write(server, ...requests);
  });
  expect(held / streams).toBeLessThan(4 * KIB);
});

test("thousands of streams that have ended leave nothing", async () => {
  const held = await heldBy((server) => {
    for (let n = 0; n < 1000; n++) write(server, requestFrame(2 * n + 1, "/unary", true));
  }, 3);
  // Some 128 bytes for each of them.
  expect(held).toBeLessThan(128 * KIB);
});

test("thousands of streams that the client has reset leave nothing", async () => {
  const held = await heldBy((server) => {
    for (let n = 0; n < 1000; n++)
      write(server, requestFrame(2 * n + 1, "/push"), rst(2 * n + 1, 8));
  }, 3);
  // Some 128 bytes for each of them.
  expect(held).toBeLessThan(128 * KIB);
});

test("a header block that does not end is held up to the limit of header lists", async () => {
  const part = frame(Type.CONTINUATION, 0, 1, encodeHeaders([["x-large", "v".repeat(16_000)]]));
  const held = await heldBy((server) => {
    write(server, frame(Type.HEADERS, 0, 1));
    for (let n = 0; n < 100; n++) write(server, part);
  });
  expect(held).toBeLessThan(256 * KIB + 32 * KIB);
});

test("half a frame is held, and not the chunks in which it came", async () => {
  const headers = encodeHeaders([["x-large", "v".repeat(16_000)]]);
  const bytes = frame(Type.HEADERS, Flag.END_HEADERS, 1, headers);
  const held = await heldBy((server) => {
    for (let at = 0; at < 15_000; at += 50) {
      // 64 KiB, as a socket delivers them, of which 50 bytes are new.
      const chunk = Buffer.alloc(64 * KIB);
      bytes.copy(chunk, 0, at, at + 50);
      write(server, chunk.subarray(0, 50));
    }
  }, 3);
  expect(held).toBeLessThan(48 * KIB);
});

test("the chunks of header blocks are not held", async () => {
  const held = await heldBy((server) => {
    write(server, frame(Type.HEADERS, Flag.END_HEADERS, 1, indexedRequest(true)));
    for (let n = 1; n < 400; n++) {
      const chunk = Buffer.alloc(64 * KIB);
      const flags = Flag.END_HEADERS | Flag.END_STREAM;
      // Each block twice: what comes once may not be worth keeping.
      const block = frame(Type.HEADERS, flags, 2 * n + 1, indexedRequest(false, n >> 1));
      write(server, chunk.subarray(0, block.copy(chunk)));
    }
  }, 3);
  // The chunks have 25 MiB.
  expect(held).toBeLessThan(512 * KIB);
});

/** A block whose fields enter the dynamic table, or refer to it, so that an engine may keep it to find it again. */
function indexedRequest(isFirst: boolean, repeats = 0): Buffer {
  const text = (value: string) => Buffer.from([value.length, ...Buffer.from(value)]);
  if (isFirst) {
    const path = Buffer.concat([Buffer.of(0x44), text("/unary")]);
    const authority = Buffer.concat([Buffer.of(0x41), text("localhost")]);
    return Buffer.concat([Buffer.of(0x83, 0x86), path, authority]);
  }
  // :method POST, :scheme http, :path and :authority from the table, and accept-encoding several times.
  const more = Buffer.alloc(repeats % 60, 0x90);
  return Buffer.concat([Buffer.of(0x83, 0x86, 0xbf, 0xbe), more]);
}

test("a table for headers as large as the client offers it is bounded", async () => {
  const held = await heldBy((server) => {
    write(server, settings({ 1: 2 ** 32 - 1 }));
    for (let n = 0; n < 200; n++) {
      const large = ["x-echo", `${n}`.repeat(500)];
      write(server, requestFrame(2 * n + 1, "/unary", true, ...large));
    }
  });
  // The values have 300 KiB.
  expect(held).toBeLessThan(64 * KIB);
});

test("answers that the pipe does not take are bounded", async () => {
  const held = await heldBy((server) => {
    server.connection.block();
    // Without take(): what the engine has to write waits in it.
    for (let n = 0; n < 5000 && server.end === undefined; n++) {
      server.receive(Buffer.concat([frame(Type.PING, 0, 0, Buffer.alloc(8)), settings()]));
    }
    server.output.length = 0;
  });
  expect(held).toBeLessThan(256 * KIB);
});

test("small messages that wait for a window do not keep the larger buffers that they are parts of", async () => {
  const server = startServer({
    onRequest({ stream }) {
      stream.sendHeaders([":status", "200"]);
      const part = () => Buffer.alloc(64 * KIB).subarray(0, 20);
      stream.writeMessage(0, part());
      stream.write(part());
    },
  });
  write(server, settings({ 4: 0 }));
  const before = await memoryInUse();
  for (let n = 0; n < 50; n++) write(server, requestFrame(2 * n + 1, "/push"));
  expect((await memoryInUse()) - before).toBeLessThan(512 * KIB);
  const waiting = server.openStreams.map(({ stream }) => stream.waitingBytes);
  expect(waiting).toEqual(Array.from({ length: 50 }, () => 45));
});
