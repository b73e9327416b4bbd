import { decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { sendHeaders } from "../src/server.ts";
import { callsOfEachKind } from "./support/calls-of-each-kind.ts";
import { gate } from "./support/gate.ts";
import { BYTES, corresponding } from "./support/metadata.ts";
import { all, next } from "./support/read.ts";
import { start } from "./support/world.ts";

describe.each(Object.entries(callsOfEachKind))("metadata, %s", (_, call) => {
  test("arrives both ways, leading and trailing, as text and as bytes", async () => {
    const { received, greeter } = corresponding();
    await using world = await start({ greeter });
    const leading = gate<Headers>();
    const trailing = gate<Headers>();
    const headers = new Headers({
      "x-from": "the client",
      "x-data-bin": encodeBinaryHeader(BYTES),
    });
    headers.append("x-twice", "one");
    headers.append("x-twice", "two");
    await call(world.greeter, { headers, onHeader: leading.open, onTrailer: trailing.open });

    const [there] = received;
    expect(there?.get("x-from")).toBe("the client");
    expect(there?.get("x-twice")).toBe("one, two");
    expect(decodeBinaryHeader(there?.get("x-data-bin") ?? "")).toEqual(BYTES);

    const here = await leading.opened;
    expect(here.get("x-leading")).toBe("from the server");
    expect(here.get("x-twice")).toBe("one, two");
    expect(decodeBinaryHeader(here.get("x-leading-bin") ?? "")).toEqual(BYTES);

    const end = await trailing.opened;
    expect(end.get("x-trailing")).toBe("at the end");
    expect(decodeBinaryHeader(end.get("x-trailing-bin") ?? "")).toEqual(BYTES);
  });
});

test("a call object resolves the headers and trailers of its response", async () => {
  const { greeter } = corresponding();
  await using world = await start({ greeter });
  for (const stream of [world.greeter.chat(), world.greeter.subscribe({})] as const) {
    expect((await stream.headers).get("x-leading")).toBe("from the server");
    await all<object>(stream);
    expect((await stream.trailers).get("x-trailing")).toBe("at the end");
  }
  const sink = world.greeter.collect();
  await sink.finish();
  expect((await sink.headers).get("x-leading")).toBe("from the server");
  expect((await sink.trailers).get("x-trailing")).toBe("at the end");
});

test("response headers arrive although the replies are not read", async () => {
  const end = gate();
  await using world = await start({
    greeter: {
      async *chat(_requests, { responseHeader }) {
        responseHeader.set("x-early", "yes");
        yield {};
        await end.opened;
      },
    },
  });
  const chat = world.greeter.chat();
  expect((await chat.headers).get("x-early")).toBe("yes");
  end.open();
  expect(await all(chat)).toHaveLength(1);
});

test("response headers leave while the handler waits for its second request", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests, { responseHeader }) {
        responseHeader.set("x-early", "yes");
        const heard = await all(requests);
        yield { reply: `${heard.length}` };
      },
    },
  });
  const chat = world.greeter.chat();
  await chat.send({});
  expect((await chat.headers).get("x-early")).toBe("yes");
  await chat.send({});
  chat.closeSend();
  expect(await all(chat)).toMatchObject([{ reply: "2" }]);
});

test("a client-streaming handler may set response headers until it answers", async () => {
  await using world = await start({
    greeter: {
      async collect(requests, { responseHeader }) {
        const { length } = await all(requests);
        responseHeader.set("x-count", `${length}`);
        return { count: length };
      },
    },
  });
  const sink = world.greeter.collect();
  for (let n = 0; n < 3; n++) await sink.send({});
  await sink.finish();
  expect((await sink.headers).get("x-count")).toBe("3");
});

test("sendHeaders() sends the response headers, once", async () => {
  const end = gate();
  await using world = await start({
    greeter: {
      async *chat(_requests, context) {
        context.responseHeader.set("x-early", "yes");
        sendHeaders(context);
        sendHeaders(context);
        await end.opened;
        yield {};
      },
      async *subscribe(_request, context) {
        context.responseHeader.set("x-early", "yes");
        sendHeaders(context);
        await end.opened;
        yield {};
      },
      async collect(_requests, context) {
        context.responseHeader.set("x-early", "yes");
        sendHeaders(context);
        await end.opened;
        return {};
      },
    },
  });
  const chat = world.greeter.chat();
  expect((await chat.headers).get("x-early")).toBe("yes");
  const headers = gate<Headers>();
  const push = world.greeter.subscribe({}, { onHeader: headers.open });
  expect((await headers.opened).get("x-early")).toBe("yes");
  const sink = world.greeter.collect();
  expect((await sink.headers).get("x-early")).toBe("yes");
  end.open();
  await sink.finish();
  expect(await all(push)).toHaveLength(1);
  expect(await all(chat)).toHaveLength(1);
});

test("a handler may set trailers until its end", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests, { responseTrailer }) {
        let count = 0;
        for await (const _ of requests) {
          count++;
          yield {};
        }
        responseTrailer.set("x-count", `${count}`);
      },
    },
  });
  const chat = world.greeter.chat();
  for (let n = 0; n < 3; n++) {
    await chat.send({});
    await next(chat);
  }
  chat.closeSend();
  await all(chat);
  expect((await chat.trailers).get("x-count")).toBe("3");
});

test("a call has a user agent that names Hawser, and te: trailers", async () => {
  const { received, greeter } = corresponding();
  await using world = await start({ greeter });
  await world.greeter.sayHello({});
  expect(received[0]?.get("user-agent")).toMatch(/hawser/i);
  expect(received[0]?.get("te")).toBe("trailers");
});

test.each([
  ["capitals in a name", { "X-Mine": "1" }, "x-mine", "1"],
  ["every character that gRPC allows in a name", { "0a_b-c.d": "1" }, "0a_b-c.d", "1"],
  ["an empty value", { "x-mine": "" }, "x-mine", ""],
  ["spaces around a value", { "x-mine": " 1 " }, "x-mine", "1"],
  ["padded base64", { "x-mine-bin": "AA==" }, "x-mine-bin", "AA=="],
  ["a user agent", { "user-agent": "mine/1" }, "user-agent", "mine/1"],
  ["a trace", { "grpc-trace-bin": "AAAA" }, "grpc-trace-bin", "AAAA"],
])("a call with %s is sent", async (_, headers, name, value) => {
  const { received, greeter } = corresponding();
  await using world = await start({ greeter });
  await world.greeter.sayHello({}, { headers });
  await all(world.greeter.chat({ headers }));
  expect(received.map((there) => there.get(name))).toEqual([value, value]);
});
