import { describe, expect, test } from "vitest";
import { ReceiveWindow } from "../src/connection/receive-window.ts";
import type { Http2Stream } from "../src/http2/types.ts";
import { budgetWorld, FakeHttp2Stream, framed } from "./support/budget-world.ts";

const KB = 1024;
const MB = 1024 * KB;
const FIRST = 65_535;

function windowWorld({ budgetBytes = 8 * MB } = {}) {
  const { clock, connect } = budgetWorld(budgetBytes);
  const connection = connect();
  const http2 = new FakeHttp2Stream();
  const owner = { memory: connection.memory, progress: 0 };
  /** The streams of a connection have the same pings. */
  const open = (stream: FakeHttp2Stream, mayBeDuplex = false) => {
    const window = new ReceiveWindow(owner, mayBeDuplex);
    window.attach(stream as unknown as Http2Stream);
    const receive = (bytes: number) => {
      stream.receive(bytes);
      window.returnCredit(bytes);
    };
    return { window, receive };
  };
  /** Another stream takes the connection above its budget. */
  const exceed = () => connection.open().send(framed(budgetBytes + KB));
  /** The peer answers the oldest ping, 50 ms later. */
  const answer = () => {
    clock.pass(50);
    http2.pings.shift()?.();
  };
  return { http2, clock, open, exceed, answer };
}

function windowOf({ budgetBytes = 8 * MB, mayBeDuplex = false } = {}) {
  const world = windowWorld({ budgetBytes });
  return { ...world, ...world.open(world.http2, mayBeDuplex) };
}

describe("a window that is measured", () => {
  test("doubles if the peer sends two thirds of it in a round trip", () => {
    const { http2, receive, answer } = windowOf();
    receive(FIRST >>> 1);
    expect(http2.pings).toHaveLength(1);
    receive((FIRST * 2) / 3);
    answer();
    expect(http2.windowBytes).toBe(2 * FIRST);
  });

  test("stays as it is if the peer sends less", () => {
    const { http2, receive, answer } = windowOf();
    receive(FIRST >>> 1);
    receive((FIRST * 2) / 3 - 1);
    answer();
    expect(http2.windowBytes).toBe(FIRST);
  });

  test("doubles again if the peer has become faster by a quarter, and not if by less", () => {
    const { http2, receive, answer } = windowOf();
    const sendInARoundTrip = (bytes: number) => {
      receive(http2.windowBytes);
      receive(bytes);
      answer();
      return http2.windowBytes;
    };
    expect(sendInARoundTrip(100_000)).toBe(200_000);
    expect(sendInARoundTrip(134_000)).toBe(400_000);
    expect(sendInARoundTrip(268_000)).toBe(800_000);
  });

  test("is compared with what the peer was on average since the window grew", () => {
    const { http2, clock, receive } = windowOf();
    const sendFor = (ms: number, bytes: number) => {
      clock.pass(100);
      receive(http2.windowBytes);
      receive(bytes);
      clock.pass(ms);
      http2.pings.shift()?.();
      return http2.windowBytes;
    };
    // 8000 B/ms by chance, then 4000.
    expect(sendFor(10, 80_000)).toBe(160_000);
    expect(sendFor(40, 160_000)).toBe(160_000);
    expect(sendFor(40, 160_000)).toBe(160_000);
    expect(sendFor(20, 160_000)).toBe(320_000);
    // 8000 again and again.
    for (let n = 0; n < 10; n++) expect(sendFor(40, 320_000)).toBe(320_000);
    expect(sendFor(33, 320_000)).toBe(320_000);
    expect(sendFor(30, 320_000)).toBe(640_000);
  });

  test("is measured only when half of it was taken, and after it has grown, of the larger one", () => {
    const { http2, receive, answer } = windowOf();
    receive((FIRST >>> 1) - 1);
    expect(http2.pings).toHaveLength(0);
    receive(1);
    receive(FIRST);
    answer();
    receive(FIRST - 1);
    expect(http2.pings).toHaveLength(0);
    receive(1);
    expect(http2.pings).toHaveLength(1);
  });

  test("is not measured once the peer has ended", () => {
    const { http2, receive } = windowOf();
    http2.isRemoteEnded = true;
    receive(FIRST);
    expect(http2.pings).toHaveLength(0);
  });

  test("does not grow after it was closed, and takes no capacity", () => {
    const { http2, clock, window, receive, answer, open } = windowOf({ budgetBytes: 2 * FIRST });
    receive(FIRST);
    receive(FIRST);
    http2.isClosed = true;
    window.close();
    answer();
    expect(http2.windowBytes).toBe(FIRST);
    http2.isClosed = false;
    clock.pass(10);
    // The next one is given all that there is.
    const next = open(http2);
    next.receive(FIRST);
    next.receive(FIRST);
    answer();
    expect(http2.windowBytes).toBe(2 * FIRST);
  });

  test("is as small as at first above a budget, and does not grow", () => {
    const { http2, window, receive, answer, exceed } = windowOf();
    receive(FIRST);
    receive(FIRST);
    answer();
    expect(http2.windowBytes).toBe(2 * FIRST);
    exceed();
    window.shrink();
    receive(FIRST);
    receive(FIRST);
    answer();
    expect(http2.windowBytes).toBe(FIRST);
  });
});

describe("the round trips of a connection", () => {
  test("are measured one at a time, each for all windows that wait for it", () => {
    const { http2, open, answer } = windowWorld();
    // The windows are those of three streams that share the pings of one.
    const [a, b, c] = [open(http2), open(http2), open(http2)];
    a.receive(FIRST);
    b.receive(FIRST);
    c.receive(FIRST);
    expect(http2.pings).toHaveLength(1);
    a.receive(FIRST);
    answer();
    b.receive(1);
    expect(http2.pings).toHaveLength(0);
    b.receive(FIRST);
    expect(http2.pings).toHaveLength(1);
    // It measures the third one too, which has waited.
    c.receive(2 * FIRST);
    answer();
    expect(http2.windowBytes).toBe(4 * FIRST);
  });

  test("begin only after DATA has come since the previous answer: servers count other pings", () => {
    const { http2, window, receive, answer, clock } = windowOf();
    http2.receive(4 * FIRST);
    window.returnCredit(FIRST);
    window.returnCredit(FIRST);
    answer();
    clock.pass(1000);
    window.returnCredit(FIRST);
    window.returnCredit(FIRST);
    expect(http2.pings).toHaveLength(0);
    receive(FIRST);
    expect(http2.pings).toHaveLength(1);
  });

  test("pause for 10 ms after one in which no window has grown", () => {
    const { http2, receive, answer, clock } = windowOf();
    receive(FIRST);
    answer();
    receive(FIRST);
    clock.pass(9);
    receive(FIRST);
    expect(http2.pings).toHaveLength(0);
    clock.pass(1);
    receive(FIRST);
    expect(http2.pings).toHaveLength(1);
  });
});

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

test("an idle window gives its capacity back, but not what a proxy may need", () => {
  const { http2, window, receive, answer } = windowOf({ mayBeDuplex: true });
  window.onSend(MB);
  receive(256 * KB);
  receive(256 * KB);
  answer();
  expect(http2.windowBytes).toBe(512 * KB);
  window.shrinkIdle();
  expect(http2.windowBytes).toBe(512 * KB);
  window.shrinkIdle();
  expect(http2.windowBytes).toBe(256 * KB);
});

test("the peer has credit until it has sent a window that is not taken", () => {
  const { window, http2 } = windowOf();
  http2.receive(FIRST - 1);
  expect(window.hasCredit).toBe(true);
  http2.receive(1);
  expect(window.hasCredit).toBe(false);
});
