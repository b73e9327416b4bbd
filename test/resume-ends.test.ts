/** How server-streaming calls that continue from a cursor end, and how soon they continue. */
import { describe, expect, test } from "vitest";
import { RoomService, type WatchResponse } from "../gen/chat/v1/room_pb.js";
import { BACKOFF, madeProgress, waitBeforeNext } from "../src/client/resume-policy.ts";
import { Backoff } from "../src/flow/backoff.ts";
import {
  type CallHeaders,
  Code,
  ConnectError,
  type Interceptor,
  type ServerStream,
} from "../src/index.ts";
import type { Authenticate } from "../src/server.ts";
import { tokens as numberedTokens } from "./support/call-headers.ts";
import { until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { FakeTime } from "./support/session-sim-clock.ts";
import { begin, roomWorld, textOf, texts } from "./support/toy-room.ts";
import { start } from "./support/world.ts";

describe("a watch ends", () => {
  const codes = Object.values(Code).filter((code) => typeof code === "number");

  test.each(codes)(
    "a watch ends with the server's status %i, unless that is UNAVAILABLE (14), or once UNAUTHENTICATED (16)",
    async (code) => {
      await using world = await roomWorld();
      const call = await world.watching();
      world.room.end(new ConnectError("enough", code));
      if (code === Code.Unavailable || code === Code.Unauthenticated) {
        await next(call);
        if (code === Code.Unauthenticated) {
          // The second attempt brought no new cursor.
          world.room.end(new ConnectError("enough", code));
          expect(await failureOf(call)).toMatchObject({ code, rawMessage: "enough" });
        }
        call.cancel();
        return;
      }
      const error = await failureOf(call);
      expect(error).toMatchObject({ code, rawMessage: "enough" });
      await expect(call.trailers).rejects.toBe(error);
      expect(call.state).toBe("closed");
      expect(world.room.watchings).toHaveLength(1);
    },
  );

  test("a watch ends with UNAVAILABLE if its first attempt does, as any call", async () => {
    let calls = 0;
    await using world = await start({
      server: {
        routes: (router) =>
          router.service(RoomService, {
            // biome-ignore lint/correctness/useYield: it fails before its first response
            async *watch() {
              calls++;
              throw new ConnectError("not now", Code.Unavailable);
            },
          }),
      },
    });
    const call = world.client(RoomService).watch({});
    expect(await failureOf(call)).toMatchObject({ code: Code.Unavailable, rawMessage: "not now" });
    expect(calls).toBe(1);
    expect((await failureOf(call.headers)).code).toBe(Code.Unavailable);
  });

  test("a watch ends with UNAVAILABLE if no server is there at first, and its state says so without a reader", async () => {
    await using world = await roomWorld();
    world.link.refuse();
    const call = world.watch({});
    expect((await failureOf(call.headers)).code).toBe(Code.Unavailable);
    expect(call.state).toBe("closed");
    expect((await failureOf(call)).code).toBe(Code.Unavailable);
  });

  test.each<[string, (call: ServerStream<WatchResponse>, caller: AbortController) => void, Code]>([
    ["cancel()", (call) => call.cancel(), Code.Canceled],
    ["its signal", (_, caller) => caller.abort(), Code.Canceled],
    ["leaving", (call) => void call[Symbol.asyncIterator]().return?.(), Code.Canceled],
    ["disposal", (call) => void call[Symbol.asyncDispose](), Code.Canceled],
  ])(
    "a watch ends by %s, while it looks for a server and while it continues",
    async (_, end, code) => {
      for (const lost of [false, true]) {
        await using world = await roomWorld();
        const caller = new AbortController();
        const call = await begin(world.client(RoomService), { signal: caller.signal });
        const failed = failureOf({ [Symbol.asyncIterator]: () => call[Symbol.asyncIterator]() });
        if (lost) {
          world.link.refuse();
          world.link.cut();
          await until("it looks for a server", () => call.state === "resuming");
        }
        end(call, caller);
        expect((await failed).code).toBe(code);
        expect(call.state).toBe("closed");
        expect((await failureOf(call.trailers)).code).toBe(code);
        await until("the server has seen it", () => world.room.open === 0);
        expect((await failureOf(call)).code).toBe(Code.FailedPrecondition);
      }
    },
  );

  test.each([
    ["its own", {}, { timeoutMs: 400 }],
    ["the transport's", { timeoutMs: 400 }, {}],
  ])("a watch ends at the deadline of the whole call, %s", async (_, transport, options) => {
    await using world = await roomWorld(transport);
    const began = performance.now();
    const call = await begin(world.client(RoomService), options);
    const left = () => world.room.watchings.at(-1)?.context.timeoutMs();
    expect(left()).toBeLessThanOrEqual(400);
    const failed = failureOf(call);
    world.link.cut();
    await until("the next attempt", () => world.room.watchings.length === 2);
    expect(left()).toBeLessThan(350);
    world.link.refuse();
    world.link.cut();
    expect(await failed).toMatchObject({
      code: Code.DeadlineExceeded,
      rawMessage: "the deadline of 400 ms passed",
    });
    const tookMs = performance.now() - began;
    expect(tookMs).toBeGreaterThan(390);
    expect(tookMs).toBeLessThan(900);
  });

  test("a watch ends before it begins if its signal has aborted", async () => {
    await using world = await roomWorld();
    const call = world.watch({}, { signal: AbortSignal.abort(), timeoutMs: 60_000 });
    expect(call.state).toBe("closed");
    expect((await failureOf(call)).code).toBe(Code.Canceled);
    expect(world.room.watchings).toHaveLength(0);
  });

  test("a watch ends when its transport closes", async () => {
    await using world = await roomWorld();
    const call = await world.watching();
    const failed = failureOf(call);
    await world.transport.close();
    expect((await failed).code).toBe(Code.Canceled);
  });
});

describe("credentials that expire", () => {
  /** A room whose tokens are valid for 150 ms, and once. */
  async function expiring(headers: CallHeaders) {
    const tokens: string[] = [];
    const authenticate: Authenticate = ({ header }) => {
      const token = String(header.get("authorization"));
      if (tokens.includes(token)) throw new ConnectError("an old token", Code.Unauthenticated);
      tokens.push(token);
      return { identity: "ada", expiresAt: new Date(Date.now() + 150) };
    };
    const world = await roomWorld({ headers }, [], { authenticate });
    return { world, tokens };
  }

  test("a watch with a function for its headers continues with new ones, and loses no message", async () => {
    const { world, tokens } = await expiring(numberedTokens());
    await using _world = world;
    const call = await world.watching();
    const read: string[] = [];
    while (tokens.length < 5) {
      world.room.post(1);
      let text: string | undefined;
      while (text === undefined) text = textOf((await next(call)) as WatchResponse);
      read.push(text);
    }
    expect(read).toEqual(texts(read.length));
    call.cancel();
  });

  test("a watch with fixed headers ends with UNAUTHENTICATED", async () => {
    const { world } = await expiring({ authorization: "token" });
    await using _world = world;
    const call = await world.watching();
    world.room.post(1);
    expect(await failureOf(call)).toMatchObject({ code: Code.Unauthenticated });
  });
});

describe("the server's pushback", () => {
  const pushback = (ms: string) =>
    new ConnectError("elsewhere", Code.Unavailable, { "grpc-retry-pushback-ms": ms });

  test("a pushback of 0 asks for the next attempt immediately", async () => {
    await using world = await roomWorld();
    const call = await world.watching();
    const began = performance.now();
    for (let n = 0; n < 10; n++) {
      world.room.end(pushback("0"));
      await next(call);
      world.room.post(1);
      await next(call);
    }
    // Without it the next attempt waits until 100 ms after the one before.
    expect(performance.now() - began).toBeLessThan(700);
    call.cancel();
  });

  test("a pushback of 250 ms delays the next attempt by 250 ms", async () => {
    await using world = await roomWorld();
    const call = await world.watching();
    const began = performance.now();
    world.room.end(pushback("250"));
    await next(call);
    expect(performance.now() - began).toBeGreaterThan(245);
    call.cancel();
  });

  test.each(["-1", "soon"])("a pushback of %s allows no next attempt", async (ms) => {
    await using world = await roomWorld();
    const call = await world.watching();
    world.room.end(pushback(ms));
    expect(await failureOf(call)).toMatchObject({ rawMessage: "elsewhere" });
    expect(world.room.watchings).toHaveLength(1);
  });
});

test("an interceptor that refuses the next attempt ends the call; after UNAVAILABLE of an interceptor another attempt follows", async () => {
  const refusals = [
    new ConnectError("who are you?", Code.Unauthenticated),
    new ConnectError("the token server is unreachable", Code.Unavailable),
  ];
  let asked = 0;
  const refusing: Interceptor = (next) => async (request) => {
    // The first attempt passes.
    const refusal = asked++ === 0 ? undefined : refusals.pop();
    if (refusal !== undefined) throw refusal;
    return await next(request);
  };
  await using world = await roomWorld({ interceptors: [refusing] });
  const call = await world.watching();
  world.link.cut();
  expect((await failureOf(call)).code).toBe(Code.Unauthenticated);
  expect(asked).toBe(3);
});

test.each([
  ["", {}],
  [
    ", although the server asks for the next attempt immediately",
    { "grpc-retry-pushback-ms": "0" },
  ],
])(
  "attempts that bring no new cursor come after longer pauses%s, until one brings a new cursor",
  async (_, metadata) => {
    await using world = await roomWorld();
    const endAll = () => world.room.end(new ConnectError("elsewhere", Code.Unavailable, metadata));
    const continues = await world.watching();
    endAll();
    await next(continues);
    // The cursor is past all messages of this test: the call never gets a new one.
    const stays = world.watch({ room: "lobby", after: "1000" });
    await next(stays);
    for (let n = 0; n < 3; n++) {
      endAll();
      await Promise.all([next(continues), next(stays)]);
    }
    world.room.post(1);
    await next(continues);
    // The other's third pause is 256 ms, more or less. This one would wait for its fourth.
    const began = performance.now();
    endAll();
    await Promise.all([next(continues), next(stays)]);
    expect(performance.now() - began).toBeGreaterThan(200);
    expect(world.room.watchings.slice(-2).map(({ after }) => after)).toEqual(["1", "1000"]);
    continues.cancel();
    stays.cancel();
  },
);

/** Attempts in a time that passes when the test says so. */
function attempts(random?: () => number) {
  const time = new FakeTime();
  const backoff = new Backoff(BACKOFF, time.clock(0, random));
  backoff.begin();
  return { time, backoff };
}

test("an attempt that brought a new cursor, or was answered and lasted a second, counts as a success", () => {
  const attempt = { moved: false, answered: true, elapsedMs: 999 };
  expect(madeProgress(attempt)).toBe(false);
  expect(madeProgress({ ...attempt, moved: true, elapsedMs: 0 })).toBe(true);
  expect(madeProgress({ ...attempt, elapsedMs: 1000 })).toBe(true);
  // A server that takes calls, and answers none.
  expect(madeProgress({ ...attempt, answered: false, elapsedMs: 60_000 })).toBe(false);
});

test("pauses grow from 100 ms to 5 s, by 1.6 and with jitter", () => {
  const lost = new ConnectError("lost", Code.Unavailable);
  for (const [random, least] of [
    [0, 0.8],
    [0.5, 1],
    [1, 1.2],
  ] as const) {
    const { time, backoff } = attempts(() => random);
    for (let idle = 1; idle < 30; idle++) {
      backoff.begin();
      // The first attempt after one that made progress comes immediately, but not sooner than 100 ms after that one began.
      if (idle === 1) {
        time.pass(30);
        expect(waitBeforeNext(lost, backoff, false)).toBe(70);
      } else {
        const base = Math.min(100 * 1.6 ** (idle - 2), 5000);
        expect(waitBeforeNext(lost, backoff, false)).toBeCloseTo(base * least);
      }
    }
  }
});

test("an attempt that brought a new cursor after a while is followed by the next immediately", () => {
  const { time, backoff } = attempts();
  backoff.begin();
  time.pass(1000);
  expect(waitBeforeNext(new ConnectError("lost", Code.Unavailable), backoff, false)).toBe(0);
});

test("a server that again and again asks for the next attempt immediately, without an answer, gets it after pauses", () => {
  const lost = new ConnectError("lost", Code.Unavailable, { "grpc-retry-pushback-ms": "0" });
  const { backoff } = attempts();
  const waits = Array.from({ length: 12 }, () => waitBeforeNext(lost, backoff, false));
  expect(waits[0]).toBe(0);
  expect(waits.at(-1)).toBeGreaterThan(4000);
});

test("a network error of another transport counts as a loss, and a bug does not", () => {
  const from = (cause: unknown, code?: Code) =>
    waitBeforeNext(ConnectError.from(cause, code), attempts().backoff, false);
  const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
  expect(from(reset, Code.Aborted)).toBeGreaterThan(0);
  expect(from(new TypeError("Failed to fetch"), Code.Internal)).toBeGreaterThan(0);
  expect(from(new TypeError("terminated", { cause: reset }))).toBeGreaterThan(0);
  expect(from(new TypeError("undefined is not a function"))).toBeUndefined();
  expect(from(reset, Code.ResourceExhausted)).toBeUndefined();
});
