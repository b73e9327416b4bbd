/** The stream of a call without a session, while it has no HTTP/2 stream. */
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { ClientCallListener } from "../src/call-stream.ts";
import { Attempts } from "../src/connection/attempts.ts";
import type { ConnectionSource } from "../src/connection/connection.ts";
import { failure } from "../src/failure.ts";
import { RequestHeaders } from "../src/grpc/request-headers.ts";
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
  onOpen: () => expect.unreachable("there is no connection"),
  onFailed: () => expect.unreachable("the test resets the stream"),
  onHeaders() {},
  onMessage() {},
  onInvalid() {},
  onClosed() {},
};

function started(): Attempts {
  const headers = new RequestHeaders({
    own: () => ({}),
    metadata: undefined,
    isFresh: true,
    again: undefined,
    deadline: undefined,
  });
  const attempts = new Attempts({ addresses: nowhere, headers, readMaxBytes: 1 }, call);
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
