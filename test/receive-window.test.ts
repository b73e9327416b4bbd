import { describe, expect, test } from "vitest";
import { ReceiveWindow } from "../src/connection/receive-window.ts";
import type { Http2Stream } from "../src/http2/types.ts";
import { budgetWorld, FakeHttp2Stream, framed } from "./support/budget-world.ts";

const KB = 1024;
const MB = 1024 * KB;
const FIRST = 65_535;

function windowOf({ budgetBytes = 8 * MB, mayBeDuplex = false } = {}) {
  const connection = budgetWorld(budgetBytes).connect();
  const http2 = new FakeHttp2Stream();
  const window = new ReceiveWindow(connection.memory, mayBeDuplex);
  window.attach(http2 as unknown as Http2Stream);
  /** Another stream takes the connection above its budget. */
  const exceed = () => connection.open().send(framed(budgetBytes + KB));
  return { window, http2, exceed };
}

describe("the rest of an incomplete message that is awaited", () => {
  test("may be sent at once if it is larger than the window, and no longer when the message is whole", () => {
    const { window, http2 } = windowOf();
    window.awaitRest(300 * KB);
    expect(http2.windowBytes).toBe(300 * KB);
    window.awaitRest(100 * KB);
    expect(http2.windowBytes).toBe(100 * KB);
    window.awaitRest(0);
    expect(http2.windowBytes).toBe(FIRST);
  });

  test("does not change a window that it fits into", () => {
    const { window, http2 } = windowOf();
    window.awaitRest(60 * KB);
    expect(http2.windowBytes).toBe(FIRST);
  });

  test("is sent a MiB at a time", () => {
    const { window, http2 } = windowOf();
    window.awaitRest(20 * MB);
    expect(http2.windowBytes).toBe(MB);
  });

  test("gets the window and no more while a budget is exceeded", () => {
    const { window, http2, exceed } = windowOf();
    exceed();
    window.awaitRest(300 * KB);
    expect(http2.windowBytes).toBe(FIRST);
  });
});

describe("the window of a client that sends", () => {
  test("is 256 KiB before more than 8 KiB are sent", () => {
    const { window, http2 } = windowOf({ mayBeDuplex: true });
    window.onSend(8 * KB - 1);
    expect(http2.windowBytes).toBe(FIRST);
    window.onSend(1);
    expect(http2.windowBytes).toBe(256 * KB);
  });

  test("does not change at the server", () => {
    const { window, http2 } = windowOf();
    window.onSend(MB);
    expect(http2.windowBytes).toBe(FIRST);
  });

  test("does not change while a budget is exceeded", () => {
    const { window, http2, exceed } = windowOf({ mayBeDuplex: true });
    exceed();
    window.onSend(MB);
    expect(http2.windowBytes).toBe(FIRST);
  });

  test("is as small as at first again when a budget is exceeded", () => {
    const { window, http2 } = windowOf({ mayBeDuplex: true });
    window.onSend(MB);
    window.shrink();
    expect(http2.windowBytes).toBe(FIRST);
  });
});

test("the peer has credit until it has sent a window that is not taken", () => {
  const { window, http2 } = windowOf();
  http2.receive(FIRST - 1);
  expect(window.hasCredit).toBe(true);
  http2.receive(1);
  expect(window.hasCredit).toBe(false);
});
