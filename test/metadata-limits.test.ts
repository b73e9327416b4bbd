import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, expect, test } from "vitest";
import { MessageRequestSchema } from "../gen/example/greeter_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import { callsOfEachKind } from "./support/calls-of-each-kind.ts";
import { aborted, until } from "./support/gate.ts";
import { sessions } from "./support/mode.ts";
import { failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

/** The limit of a header list that is sent, in bytes as HPACK counts them. */
const LIMIT = 65_536;

/** Node's diagnostics channel that reports each stream that a client opens. */
const STREAM_CREATED = "http2.client.stream.created";

/** Handlers of every kind that answer with one message, after what `set` does. */
function answering(set: (context: HandlerContext) => void = () => {}) {
  const calls: HandlerContext[] = [];
  const begin = (context: HandlerContext) => {
    calls.push(context);
    set(context);
    return {};
  };
  return {
    calls,
    greeter: {
      sayHello: (_: unknown, context: HandlerContext) => begin(context),
      collect: async (_: unknown, context: HandlerContext) => begin(context),
      async *subscribe(_: unknown, context: HandlerContext) {
        yield begin(context);
      },
      async *chat(_: unknown, context: HandlerContext) {
        yield begin(context);
      },
    },
  };
}

function many(count: number): Headers {
  return new Headers(Array.from({ length: count }, (_, n): [string, string] => [`x-${n}`, "1"]));
}

/** The first number of bytes in an error. */
const bytesIn = ({ rawMessage }: ConnectError) => Number(/(\d+) B/.exec(rawMessage)?.[1]);

describe.each(Object.entries(callsOfEachKind))("%s", (_, call) => {
  test("request headers of 66 KB fail the call before it opens a stream, with their size and the limit", async () => {
    const { calls, greeter } = answering();
    await using world = await start({ greeter });
    await call(world.greeter);
    let streams = 0;
    const note = () => void streams++;
    subscribe(STREAM_CREATED, note);
    const headers = { "x-large": "x".repeat(66_000) };
    const error = await failureOf(call(world.greeter, { headers }));
    unsubscribe(STREAM_CREATED, note);
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(bytesIn(error)).toBeGreaterThan(66_000);
    expect(error.rawMessage).toContain(`over the ${LIMIT} B that this client sends at most`);
    expect(streams).toBe(0);
    expect(calls).toHaveLength(1);
  });

  test("request headers of 66 KB fail the call, even without a server", async () => {
    await using world = await start({ transport: { baseUrl: "http://127.0.0.1:1" } });
    const headers = { "x-large": "x".repeat(66_000) };
    const error = await failureOf(call(world.greeter, { headers }));
    expect(error.code).toBe(Code.ResourceExhausted);
  });

  test.each([150, 300])(
    "%d request headers fail the call, which names the limit",
    async (count) => {
      const { calls, greeter } = answering();
      await using world = await start({ greeter });
      const error = await failureOf(call(world.greeter, { headers: many(count) }));
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(error.rawMessage).toMatch(
        new RegExp(`${String(count).slice(0, -2)}\\d\\d .*headers.* 128`),
      );
      expect(calls).toEqual([]);
      await call(world.greeter, { headers: many(100) });
    },
  );

  test("response headers of 66 KB end the call with RESOURCE_EXHAUSTED that says so, logged once", async () => {
    const { greeter } = answering(({ responseHeader }) =>
      responseHeader.set("x-large", "x".repeat(66_000)),
    );
    await using world = await start({ greeter });
    const error = await failureOf(call(world.greeter));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.rawMessage).toMatch(/the response headers are 66\d{3} B .* over the 65024 B/);
    expect(world.logged).toHaveLength(1);
    expect(String(world.logged[0]?.[1])).toContain(error.rawMessage);
  });

  test("trailers of 66 KB end the call with RESOURCE_EXHAUSTED that says so, logged once", async () => {
    const { greeter } = answering(({ responseTrailer }) =>
      responseTrailer.set("x-large", "x".repeat(66_000)),
    );
    await using world = await start({ greeter });
    const error = await failureOf(call(world.greeter));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.rawMessage).toMatch(/trailers are 66039 B .* limited to 65536 B/);
    expect(world.logged).toHaveLength(1);
    expect(String(world.logged[0]?.[1])).toContain(error.rawMessage);
  });

  test("an error with 100 KB of details keeps its code and its message, which says that they are left out", async () => {
    const { greeter } = answering(() => {
      throw new ConnectError("no such room", Code.NotFound, { "x-room": "quay" }, [
        { desc: MessageRequestSchema, value: { content: "d".repeat(100_000) } },
      ]);
    });
    await using world = await start({ greeter });
    const error = await failureOf(call(world.greeter));
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toMatch(
      /^no such room \(details of 13\d{4} B left out: .* 65536 B\)$/,
    );
    expect(error.metadata.get("x-room")).toBe("quay");
    expect(error.details).toEqual([]);
    expect(world.logged).toEqual([]);
  });

  test("an error with a message of 100 KB, and one with metadata of 100 KB, keep what fits", async () => {
    let failure = new ConnectError("m".repeat(100_000), Code.NotFound);
    const { greeter } = answering(() => {
      throw failure;
    });
    await using world = await start({ greeter });
    const cut = await failureOf(call(world.greeter));
    expect(cut.code).toBe(Code.NotFound);
    expect(cut.rawMessage).toMatch(/^m{60000,} \.\.\. \(cut; 100000 characters\)$/);

    failure = new ConnectError("no such room", Code.NotFound, { "x-large": "x".repeat(100_000) });
    const replaced = await failureOf(call(world.greeter));
    expect(replaced.code).toBe(Code.ResourceExhausted);
    expect(replaced.rawMessage).toContain("[not_found] no such room");
    expect(world.logged).toHaveLength(1);
  });

  test("60 KB of response headers and of trailers arrive at a Hawser client", async () => {
    const { greeter } = answering(({ responseHeader, responseTrailer }) => {
      responseHeader.set("x-large", "h".repeat(60_000));
      responseTrailer.set("x-large", "t".repeat(60_000));
    });
    await using world = await start({ greeter });
    const sizes: (number | undefined)[] = [];
    const note = (headers: Headers) => void sizes.push(headers.get("x-large")?.length);
    await call(world.greeter, { onHeader: note, onTrailer: note });
    expect(sizes).toEqual([60_000, 60_000]);
  });

  test.each(["responseHeader", "responseTrailer"] as const)(
    "150 fields in %s fail the call with an error that names the limit of this client",
    async (name) => {
      const { greeter } = answering((context) => {
        for (const [field, value] of many(150)) context[name].set(field, value);
      });
      await using world = await start({ greeter });
      const error = await failureOf(call(world.greeter));
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(error.rawMessage).toMatch(
        /sent 1[5-9]\d (response headers|trailers): 128 are taken at most/,
      );
      expect(error.rawMessage).not.toContain("calm");
      expect(world.logged).toEqual([]);
    },
  );
});

test("request headers that fit to the byte are sent", async () => {
  const { calls, greeter } = answering();
  await using world = await start({ greeter });
  const send = (length: number) =>
    world.greeter.sayHello({}, { headers: { "x-large": "x".repeat(length) } });
  const most = 66_000 - (bytesIn(await failureOf(send(66_000))) - LIMIT);
  expect(bytesIn(await failureOf(send(most + 1)))).toBe(LIMIT + 1);
  expect(calls).toEqual([]);
  await send(most);
  expect(calls[0]?.requestHeader.get("x-large")).toHaveLength(most);
});

test.runIf(sessions)(
  "a session whose headers fit to the byte can be resumed, and cancelled",
  async () => {
    const signals: AbortSignal[] = [];
    await using world = await start({
      linked: true,
      greeter: {
        async *chat(requests, { signal }) {
          signals.push(signal);
          for await (const { content } of requests) yield { reply: content };
        },
      },
    });
    const chatWith = (length: number) =>
      world.greeter.chat({ headers: { "x-large": "x".repeat(length) } });
    const withoutSession = await failureOf(chatWith(66_000));
    const plainMost = 66_000 - (bytesIn(withoutSession) - LIMIT);
    const most = plainMost - (bytesIn(await failureOf(chatWith(plainMost))) - LIMIT);
    expect(signals).toEqual([]);

    const chat = chatWith(most);
    for (let n = 0; n < 3; n++) {
      await chat.send({ content: `${n}` });
      expect(await next(chat)).toMatchObject({ reply: `${n}` });
      world.link.cut();
      await until("the call is resumed", () => chat.state === "resuming");
      await until("the call is open again", () => chat.state === "open");
    }
    expect(signals).toHaveLength(1);
    world.link.cut();
    chat.cancel();
    await aborted(signals[0] as AbortSignal);
  },
);
