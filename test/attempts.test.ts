/** The stream of a call without a session, while it has no HTTP/2 stream. */
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { ClientCallListener } from "../src/call-stream.ts";
import { Attempts } from "../src/connection/attempts.ts";
import type { Connection, ConnectionSource } from "../src/connection/connection.ts";
import { RequestFields, RequestHeaders } from "../src/connection/request-headers.ts";
import { failure } from "../src/failure.ts";
import type { BegunCall, ClientAttachment } from "../src/session/attachment.ts";
import { Spool } from "../src/session/spool.ts";
import { memoryInUse } from "./support/memory.ts";

const REASON = failure(Code.Unavailable, "no server can be reached");

/** A source that never has a connection. */
const nowhere: ConnectionSource = {
  closing: new AbortController().signal,
  ready: () => undefined,
  acquire: () => new Promise(() => {}),
};

const call: ClientCallListener = {
  isOver: false,
  onStream() {},
  onOpen() {},
  onFailed: () => expect.unreachable("the test resets the stream"),
  onHeaders() {},
  onMessage() {},
  onInvalid() {},
  onClosed() {},
};

function started(addresses = nowhere, begun?: BegunCall): Attempts {
  const fields = new RequestFields({}, undefined);
  const headers = new RequestHeaders({ fields, deadline: undefined });
  const attempts = new Attempts({ addresses, headers, readMaxBytes: 1 }, call, begun);
  attempts.start();
  return attempts;
}

test("a write before the reset fails with its reason, and so does one after it", async () => {
  const attempts = started();
  const write = async () => await attempts.write(0, new Uint8Array(1));
  const before = expect(write()).rejects.toBe(REASON);
  attempts.reset(REASON);
  await before;
  await expect(write()).rejects.toBe(REASON);
});

test("a write fails with the reason of the reset where none waited before", async () => {
  const attempts = started();
  attempts.reset(REASON);
  const write = async () => await attempts.write(0, new Uint8Array(1));
  await expect(write()).rejects.toBe(REASON);
});

test("a message that waits does not keep the larger buffer that it is a part of", async () => {
  const all = [started()];
  const before = await memoryInUse();
  for (let n = 0; n < 100; n++) {
    const attempts = started();
    attempts.write(0, Buffer.alloc(64 * 1024).subarray(0, 20))?.catch(() => {});
    all.push(attempts);
  }
  expect((await memoryInUse()) - before).toBeLessThan(512 * 1024);
  for (const attempts of all) attempts.reset(REASON);
});

/** A connection whose streams note what is written to them. */
function connectionTo(written: string[]): Connection {
  const stream: Partial<ClientAttachment> = {
    write: (_flags: number, payload: Uint8Array) => {
      written.push(Buffer.from(payload).toString());
      return undefined;
    },
    pull: (source) => {
      for (let piece = source.next(); piece !== undefined; piece = source.next()) {
        written.push(Buffer.from(piece.subarray(source.start, source.end)).toString());
      }
      return undefined;
    },
    endSend: () => void written.push("half-close"),
    release() {},
  };
  const open = () => stream as ClientAttachment;
  return { open } as Partial<Connection> as Connection;
}

test("a message that waits for a connection, or is sent again, is kept although its memory is used again", () => {
  const written: string[] = [];
  let ready: Connection | undefined;
  let use: ((connection: Connection) => void) | undefined;
  const attempts = started({
    ...nowhere,
    ready: () => ready,
    acquire: (found) => {
      use = found;
      return Promise.resolve();
    },
  });
  const memory = Buffer.alloc(5);
  const write = (content: string) => {
    memory.write(content);
    attempts.write(0, memory)?.catch(() => {});
    memory.fill(0xdd);
  };
  write("early");
  ready = connectionTo(written);
  use?.(ready);
  write("later");
  expect(attempts.onUnprocessed(REASON)).toBe(true);
  expect(written).toEqual(["early", "later", "early", "later"]);
});

test("what a call has sent before in a session that did not begin stands before all else in each attempt, and its half-close after", () => {
  const written: string[] = [];
  const connection = connectionTo(written);
  const sent = new Spool();
  sent.push(0, Buffer.from("before"));
  sent.next();
  const addresses = { ...nowhere, ready: () => connection };
  const attempts = started(addresses, { sent, hasHalfClosed: true });
  const first = ["\0\0\0\0\x06before", "half-close"];
  expect(written).toEqual(first);
  expect(attempts.onUnprocessed(REASON)).toBe(true);
  expect(written).toEqual([...first, ...first]);
});

test("a call that has sent much before is not sent again after its first attempt", () => {
  const connection = connectionTo([]);
  const sent = new Spool();
  sent.push(0, new Uint8Array(64 * 1024));
  const addresses = { ...nowhere, ready: () => connection };
  const attempts = started(addresses, { sent, hasHalfClosed: false });
  expect(attempts.onUnprocessed(REASON)).toBe(false);
});
