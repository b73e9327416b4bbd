/** hawser/react where there is no page: on a server that renders, with wrong arguments, and its types. test/browser has the rest. */
import { type ComponentType, createElement } from "react";
import { renderToString } from "react-dom/server";
import { expect, expectTypeOf, test } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import type { MessageResponse } from "../gen/example/greeter_pb.js";
import { type CallState, Code, type ConnectError, createClient } from "../src/index.ts";
import { type CallData, useCallState, useDuplex, useWatch } from "../src/react.ts";
import { start } from "./support/world.ts";

const NONE: readonly string[] = [];

test("on a server that renders, a component has its initial data and makes no call", async () => {
  let calls = 0;
  await using world = await start({
    greeter: { chat: () => nothing(calls++), subscribe: () => nothing(calls++) },
  });
  const { greeter } = world;
  const Page: ComponentType = () => {
    const chat = useDuplex(greeter.chat, {
      initial: NONE,
      reduce: (all, { reply }) => [...all, reply],
    });
    const push = useWatch(greeter.subscribe, {}, { initial: 0, reduce: (count) => count + 1 });
    return `${chat.data.length} ${chat.state}, ${push.data} ${push.state}`;
  };
  expect(renderToString(createElement(Page))).toBe("0 connecting, 0 connecting");
  expect(calls).toBe(0);
});

async function* nothing(_: unknown): AsyncGenerator<never, undefined> {}

test("a function that is no method of a client, of another kind, or without options, is refused with the remedy", async () => {
  await using world = await start();
  const { greeter } = world;
  const options = { initial: 0, reduce: (count: number) => count + 1 };
  const rendering = (use: () => unknown) => () =>
    renderToString(
      createElement(() => {
        use();
        return null;
      }),
    );
  const complaint = (message: string) =>
    expect.objectContaining({ code: Code.InvalidArgument, rawMessage: message });
  expect(
    rendering(() => useWatch((request: object) => greeter.subscribe(request), {}, options)),
  ).toThrow(
    complaint(
      "useWatch: a server-streaming method of a client is needed, as it is: useWatch(client.method, …)",
    ),
  );
  // @ts-expect-error: it is bidirectional
  expect(rendering(() => useWatch(greeter.chat, {}, options))).toThrow(
    complaint(
      "useWatch: a server-streaming method of a client is needed, as it is: useWatch(client.method, …)",
    ),
  );
  // @ts-expect-error: it is server-streaming
  expect(rendering(() => useDuplex(greeter.subscribe, options))).toThrow(
    complaint(
      "useDuplex: a bidirectional method of a client is needed, as it is: useDuplex(client.method, …)",
    ),
  );
  // @ts-expect-error: it has no reduce
  expect(rendering(() => useDuplex(greeter.chat, { initial: 0 }))).toThrow(/useDuplex: reduce/);
});

test("the data, the messages and the requests have the types of the contract", async () => {
  await using world = await start();
  const { greeter } = world;
  const rooms = createClient(RoomService, world.transport);
  // Only their types are looked at: hooks run in components.
  const typed = () => {
    const chat = useDuplex(greeter.chat, {
      initial: [] as MessageResponse[],
      reduce: (all, response) => {
        expectTypeOf(response).toEqualTypeOf<MessageResponse>();
        return [...all, response];
      },
    });
    expectTypeOf(chat.data).toEqualTypeOf<MessageResponse[]>();
    expectTypeOf(chat.state).toEqualTypeOf<CallState>();
    expectTypeOf(chat.error).toEqualTypeOf<ConnectError | undefined>();
    void chat.send({ content: "a" });
    // @ts-expect-error: a request has no such field
    void chat.send({ contents: "a" });

    const watch = useWatch(
      rooms.watch,
      { room: "lobby" },
      { initial: "", reduce: (_, { cursor }) => cursor },
    );
    expectTypeOf(watch).toEqualTypeOf<CallData<string>>();
    // @ts-expect-error: a request has no such field
    useWatch(rooms.watch, { rooms: "lobby" }, { initial: "", reduce: (_, { cursor }) => cursor });

    expectTypeOf(useCallState(greeter.chat())).toEqualTypeOf<CallState>();
  };
  expect(typed).toBeTypeOf("function");
});
