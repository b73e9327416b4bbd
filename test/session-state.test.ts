/** The state of a session and its counts: the parts of the core that know neither streams nor time. */
import { describe, expect, test } from "vitest";
import { ConnectError } from "../src/index.ts";
import { Reason } from "../src/session/lost.ts";
import { SessionWindow } from "../src/session/session-window.ts";
import {
  type AttachmentState,
  answered,
  attachedTo,
  ended,
  isUnreached,
  judgeUnknown,
  detached as leave,
  mayBeginAgain,
  opened,
  reached,
  refusalOf,
  unattached,
} from "../src/session/state.ts";

const MOST = Number.MAX_SAFE_INTEGER;

describe("the attachment of a session", () => {
  const stream = { is: "the third" };
  const none = { stream: undefined, outgoing: undefined };
  const detached: AttachmentState<object> = {
    is: "detached",
    number: 3,
    ...none,
    isReached: true,
  };
  const waiting = { stream, outgoing: undefined };
  const attaching: AttachmentState<object> = { is: "attaching", number: 3, ...waiting };
  const both = { stream, outgoing: stream };
  const flowing: AttachmentState<object> = { is: "attaching", number: 3, ...both };
  const attached: AttachmentState<object> = { is: "attached", number: 3, ...both };
  const over: AttachmentState<object> = { is: "over", number: 3, ...none };
  const all = [unattached, detached, attaching, flowing, attached, over];

  test("a session has no attachment at the beginning", () => {
    expect(unattached).toStrictEqual({ is: "detached", number: 0, ...none, isReached: false });
  });

  test("a session takes the stream of the next attachment number, unless it has ended", () => {
    const next = {};
    for (const state of all.filter(({ is }) => is !== "over")) {
      const is = { is: "attaching", number: state.number + 1, stream: next };
      expect(opened(state, next, true)).toStrictEqual({ ...is, outgoing: next });
      expect(opened(state, next, false)).toStrictEqual({ ...is, outgoing: undefined });
    }
    expect(opened(over, next, true)).toBe(over);
  });

  test("a session is attached by the answer to its current attachment, and by no other", () => {
    expect(answered(attaching)).toStrictEqual(attached);
    expect(answered(flowing)).toStrictEqual(attached);
    expect(attachedTo(stream, 3)).toStrictEqual(attached);
    for (const state of [unattached, detached, attached, over]) {
      expect(answered(state)).toBe(state);
    }
  });

  test("a session admits a higher attachment, whatever attachment it has", () => {
    for (const state of all.filter(({ is }) => is !== "over")) {
      expect(refusalOf(state, state.number + 1)).toBeUndefined();
      expect(refusalOf(state, MOST)).toBeUndefined();
      expect(refusalOf(state, state.number)).toBe(Reason.TAKEN_OVER);
      expect(refusalOf(state, state.number - 1)).toBe(Reason.TAKEN_OVER);
    }
    for (const number of [2, 3, 4]) expect(refusalOf(over, number)).toBe(Reason.UNKNOWN);
  });

  test("an attachment has its stream while it attaches and is attached, and until it leaves the stream", () => {
    for (const state of [attaching, flowing, attached]) {
      expect(leave(state)).toStrictEqual(detached);
    }
    for (const state of [unattached, detached, over]) expect(leave(state)).toStrictEqual(state);
  });

  test("a session has reached the server with the first connection, whether a stream is opened there or not", () => {
    expect(isUnreached(unattached)).toBe(true);
    expect(isUnreached(reached(unattached))).toBe(false);
    expect(isUnreached(leave(opened(unattached, stream, true)))).toBe(false);
    for (const state of all.filter((state) => state !== unattached)) {
      expect(isUnreached(state)).toBe(false);
      expect(reached(state)).toStrictEqual(state);
    }
  });

  test("a session may begin anew if attachment 1 was not processed, and no later one was made", () => {
    expect(mayBeginAgain({ ...attaching, number: 1 })).toBe(true);
    expect(mayBeginAgain({ ...attached, number: 1 })).toBe(false);
    for (const state of all) expect(mayBeginAgain(state)).toBe(false);
  });

  test("an attachment ends from any state, and stays ended", () => {
    for (const state of all) {
      const end = ended(state);
      expect(end).toStrictEqual({ is: "over", number: state.number, ...none });
      expect(opened(end, stream, true)).toBe(end);
      expect(answered(end)).toBe(end);
      expect(leave(end)).toBe(end);
      expect(ended(end)).toEqual(end);
    }
  });
});

describe("an attachment of a session that the server does not know", () => {
  const server = { epoch: "here", nowMs: 100_000, graceMs: 30_000 };
  const ask = (attach: number, epoch: string, openedMs?: number) =>
    judgeUnknown({ attach, epoch, openedMs }, server);

  test("an attachment starts the session if it was opened within the grace, whatever the attachment's number", () => {
    for (const attach of [1, 2, 9]) {
      for (const openedMs of [100_000, 80_000, 70_000]) {
        expect(ask(attach, "here", openedMs)).toBe("start");
      }
    }
  });

  test("an attachment is too late if the session was opened longer ago", () => {
    for (const attach of [1, 2]) {
      expect(ask(attach, "here", 69_999)).toBe(Reason.EXPIRED);
      expect(ask(attach, "here", 0)).toBe(Reason.EXPIRED);
    }
  });

  test("an attachment is also refused if the session was opened ahead of the server's clock by more than the grace", () => {
    for (const attach of [1, 2]) {
      expect(ask(attach, "here", 130_000)).toBe("start");
      expect(ask(attach, "here", 130_001)).toBe(Reason.EXPIRED);
    }
  });

  test("a session is UNKNOWN if it was answered before", () => {
    expect(ask(2, "here")).toBe(Reason.UNKNOWN);
    expect(ask(1, "here")).toBe(Reason.UNKNOWN);
  });

  test("a session of another process starts only with attachment 1", () => {
    expect(ask(1, "there", 1)).toBe("start");
    expect(ask(1, "there")).toBe("start");
    expect(ask(2, "there", 100_000)).toBe(Reason.SERVER_RESTARTED);
    expect(ask(2, "there")).toBe(Reason.SERVER_RESTARTED);
  });
});

/** An account that shows its bytes. */
const counting = () => ({
  bytes: 0,
  isOver: false,
  count(bytes: number) {
    this.bytes += bytes;
  },
});

describe("the window of a session", () => {
  const size = { bytes: 100, messages: 4 };
  const bytes = (size: number) => new Uint8Array(size);
  const open = (start?: number) => {
    const account = counting();
    return { account, window: new SessionWindow(size, account, start) };
  };

  test("the window is full by messages, by bytes, and exceeds the bytes by one message", () => {
    const { window } = open();
    for (const size of [0, 0, 0]) expect(window.push(0, bytes(size))).toBe(false);
    expect(window.full).toBe(false);
    expect(window.push(0, bytes(0))).toBe(true);
    expect(window.full).toBe(true);
    window.acknowledge(3);
    expect(window.full).toBe(false);
    window.push(0, bytes(99));
    expect(window.full).toBe(false);
    expect(window.push(0, bytes(1000))).toBe(true);
    expect(window.full).toBe(true);
  });

  test("admits as much as the window holds, and no more", () => {
    const { window } = open();
    expect([window.receive(99), window.receive(500), window.receive(0)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(window.received).toBe(2);
    const { window: full } = open();
    expect([full.receive(100), full.receive(0)]).toEqual([true, false]);
    const { window: other } = open();
    for (let n = 0; n < 4; n++) expect(other.receive(1)).toBe(true);
    expect(other.receive(1)).toBe(false);
    for (let n = 0; n < 4; n++) other.take(1);
    // The other side knows only the capacity that was acknowledged to it.
    expect(other.receive(1)).toBe(false);
    other.markAcknowledged();
    expect(other.receive(1)).toBe(true);
  });

  test("the window is due for an acknowledgement at half its size, in messages or in bytes", () => {
    const { window } = open();
    for (const size of [1, 1, 50]) window.receive(size);
    expect(window.ackPending).toBe(false);
    expect(window.take(1)).toBe(false);
    expect(window.ackPending).toBe(true);
    expect(window.take(1)).toBe(true);
    expect(window.markAcknowledged()).toBe(2);
    expect(window.ackPending).toBe(false);
    expect(window.take(50)).toBe(true);
  });

  test("a large window is due for an acknowledgement at 64 KiB: the other side then uses that memory again", () => {
    const window = new SessionWindow({ bytes: 1024 * 1024, messages: 1000 }, counting());
    for (const size of [65_535, 1]) window.receive(size);
    expect(window.take(65_535)).toBe(false);
    expect(window.take(1)).toBe(true);
    window.markAcknowledged();
    window.receive(65_535);
    expect(window.take(65_535)).toBe(false);
  });

  test("the window refuses counts that are impossible, and ignores old ones", () => {
    const { window } = open();
    for (let n = 0; n < 3; n++) window.push(0, bytes(1));
    expect(window.acknowledge(4)).toBe("above");
    expect(window.acknowledged).toBe(0);
    expect(window.acknowledge(2)).toBeUndefined();
    expect(window.acknowledge(1)).toBeUndefined();
    expect(window.acknowledged).toBe(2);
    expect(window.checkResume(4)).toBe("above");
    expect(window.checkResume(3)).toBeUndefined();
    expect(window.checkResume(2)).toBeUndefined();
    expect(window.checkResume(1)).toBe("gap");
  });

  test("becomes the smaller of both windows, at each attachment", () => {
    const { window } = open();
    window.setPeerWindow({ bytes: 50, messages: 9 });
    expect(window.window).toEqual({ bytes: 50, messages: 4 });
    window.setPeerWindow({ bytes: 1000, messages: 2 });
    expect(window.window).toEqual({ bytes: 100, messages: 2 });
  });

  test("the window is exact up to the largest count, and ends there", () => {
    const { window } = open(MOST - 2);
    expect([window.sent, window.acknowledged, window.received, window.delivered]).toEqual(
      Array(4).fill(MOST - 2),
    );
    window.push(0, bytes(1));
    window.push(0, bytes(1));
    expect(window.sent).toBe(MOST);
    expect(() => window.push(0, bytes(1))).toThrow(/2\^53 - 1/);
    expect(window.sent).toBe(MOST);
    expect(window.acknowledge(MOST + 1)).toBe("above");
    expect(window.checkResume(MOST - 1)).toBeUndefined();
    expect(window.acknowledge(MOST)).toBeUndefined();
    expect(window.acknowledged).toBe(MOST);

    expect([window.receive(1), window.receive(1)]).toEqual([true, true]);
    expect(() => window.receive(1)).toThrow(ConnectError);
    expect(window.received).toBe(MOST);
    window.take(1);
    window.take(1);
    expect(window.markAcknowledged()).toBe(MOST);
  });

  const settlings: Record<string, (window: SessionWindow) => void> = {
    "acknowledged and taken": (window) => {
      window.acknowledge(3);
      window.take(30);
      window.take(5);
    },
    "when no more messages are taken, and all are acknowledged": (window) => {
      window.takeAll();
      window.acknowledge(3);
    },
    "when it is closed": (window) => window.close(),
    "when it is closed twice": (window) => {
      window.close();
      window.close();
    },
    "when it is closed after a part": (window) => {
      window.acknowledge(1);
      window.take(30);
      window.markAcknowledged();
      window.close();
    },
    "when messages come after its end": (window) => {
      window.close();
      window.push(0, bytes(9));
      window.receive(9);
      window.take(5);
      window.takeAll();
    },
  };

  test.each(Object.entries(settlings))(
    "a window returns to its account the bytes that it took: %s",
    (_, settle) => {
      const { account, window } = open();
      for (const size of [10, 0, 20]) window.push(0, bytes(size));
      for (const size of [30, 5]) window.receive(size);
      expect(account.bytes).toBeGreaterThanOrEqual(65);
      settle(window);
      expect(account.bytes).toBe(0);
    },
  );

  test("the window is full while its account has no capacity, whatever it keeps itself", () => {
    const { account, window } = open();
    expect(window.push(0, bytes(1))).toBe(false);
    account.isOver = true;
    expect([window.full, window.push(0, bytes(1))]).toEqual([true, true]);
    window.acknowledge(2);
    expect(window.full).toBe(true);
    account.isOver = false;
    expect(window.full).toBe(false);
  });

  test("a message that many sessions share counts only what each keeps beside it", () => {
    const account = counting();
    const window = new SessionWindow({ bytes: 1e6, messages: 100 }, account);
    const run = { bytes: new Uint8Array(5000) };
    window.push(0, run.bytes.subarray(5, 2500), { run, start: 0, end: 2500 });
    window.push(0, run.bytes.subarray(2505), { run, start: 2500, end: 5000 });
    window.push(0, bytes(4000), { run: { bytes: undefined }, start: 0, end: 0 });
    expect(window.kept.bytes).toBe(2 * 2495 + 4000);
    expect(account.bytes).toBeLessThan(100);
    window.push(0, bytes(300));
    expect(account.bytes).toBeGreaterThan(300);
    expect(window.countedBytes).toBe(account.bytes);
    window.acknowledge(3);
    expect(account.bytes).toBe(300 + 16);
    window.acknowledge(4);
    expect(account.bytes).toBe(0);
  });

  test("a window shares its account with other windows", () => {
    const account = counting();
    const [one, two] = [new SessionWindow(size, account), new SessionWindow(size, account)];
    one.push(0, bytes(10));
    const alone = account.bytes;
    two.push(0, bytes(10));
    expect(account.bytes).toBe(2 * alone);
    one.close();
    expect(account.bytes).toBe(alone);
  });
});
