/** hawser/react in Chromium: components in StrictMode, which are unmounted, mounted again, hidden and shown. */
import { describe, expect, test } from "vitest";
import { greeter } from "../../examples/greeter/handlers.ts";
import { rooms } from "../../examples/rooms/handlers.ts";
import { RoomService } from "../../gen/chat/v1/room_pb.js";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../../src/index.ts";
import type { HandlerContext, ServiceImpl } from "../../src/server.ts";
import { memoryLog } from "../../src/topics.ts";
import { openPage } from "./browser.ts";
import { hasChromium } from "./chromium.ts";
import type { page as reactPage } from "./react-page.ts";

/** The calls that a method has had, and those that are open. */
class Calls {
  begun = 0;
  open = 0;

  /** Counts a call until its signal aborts, which it does at every end. */
  count({ signal }: HandlerContext): void {
    this.begun++;
    this.open++;
    signal.addEventListener("abort", () => this.open--);
  }
}

async function openReact(
  handlers: Partial<ServiceImpl<typeof Greeter>> = {},
  script = "react-page.ts",
) {
  const chats = new Calls();
  const watches = new Calls();
  const log = memoryLog();
  const chat = rooms(log);
  const scene = await openPage<typeof reactPage>({
    script,
    routes: (router) => {
      router.service(Greeter, {
        ...greeter,
        chat(requests, context) {
          chats.count(context);
          return greeter.chat(requests, context);
        },
        ...handlers,
      });
      router.service(RoomService, {
        ...chat.service,
        watch(request, context) {
          watches.count(context);
          return chat.service.watch(request, context);
        },
      });
    },
  });
  const transport = createTransport({ baseUrl: scene.link.url });
  const client = createClient(RoomService, transport);
  let posted = 0n;
  return {
    ...scene,
    ...{ chats, watches },
    async post(room: string, ...texts: string[]) {
      for (const text of texts) {
        await client.post({ room, name: "ada", producer: "ada's", sequence: ++posted, text });
      }
    },
    /** Waits for what a component has rendered. */
    shows: (name: string, what: object) =>
      expect.poll(() => scene.run("seen", name)).toMatchObject(what),
    async [Symbol.asyncDispose]() {
      await transport.close();
      await scene[Symbol.asyncDispose]();
      await chat[Symbol.asyncDispose]();
      await log[Symbol.asyncDispose]();
    },
  };
}

describe.runIf(hasChromium)("in a page with React", () => {
  test("a mounted component has one call in StrictMode, and each reply once; unmounting cancels it", async () => {
    await using scene = await openReact();
    await scene.run("render", { chat: true });
    await scene.shows("chat", { state: "open", data: [], error: undefined });
    for (const content of ["a", "b", "c"]) expect(await scene.run("send", content)).toBe("sent");
    await scene.shows("chat", { data: ["Received: a", "Received: b", "Received: c"] });
    expect(await scene.run("text")).toBe("open: Received: a, Received: b, Received: c");
    expect(scene.chats).toMatchObject({ begun: 1, open: 1 });
    await scene.run("render", {});
    await expect.poll(() => scene.chats.open).toBe(0);
    expect(await scene.run("send", "late")).toBe("FailedPrecondition");
  });

  test("a call continues after a cut, and the component sees it resume", async () => {
    await using scene = await openReact();
    await scene.run("render", { chat: true });
    await scene.shows("chat", { state: "open" });
    await scene.run("send", "before");
    await scene.shows("chat", { data: ["Received: before"] });
    scene.link.refuse();
    await scene.link.cut();
    await scene.shows("chat", { state: "resuming" });
    await scene.run("send", "during");
    scene.link.accept();
    await scene.shows("chat", { state: "open", data: ["Received: before", "Received: during"] });
    expect(scene.chats.begun).toBe(1);
  });

  test("a component with another key has a call of its own, without the data of the other", async () => {
    await using scene = await openReact();
    await scene.run("render", { chat: true, key: "first" });
    await scene.shows("chat", { state: "open" });
    await scene.run("send", "to the first");
    await scene.shows("chat", { data: ["Received: to the first"] });
    await scene.run("render", { chat: true, key: "second" });
    await scene.shows("chat", { state: "open", data: [] });
    await scene.run("send", "to the second");
    await scene.shows("chat", { data: ["Received: to the second"] });
    await expect.poll(() => scene.chats).toMatchObject({ begun: 2, open: 1 });
  });

  test("a push with a cursor that was hidden continues after it: nothing is lost or repeated", async () => {
    await using scene = await openReact();
    await scene.run("render", { watch: "lobby" });
    await scene.shows("watch", { state: "open" });
    await scene.post("lobby", "one", "two");
    await scene.shows("watch", { data: ["one", "two"] });
    await scene.run("render", { watch: "lobby", hidden: true });
    await expect.poll(() => scene.watches.open).toBe(0);
    await scene.post("lobby", "three", "four");
    await scene.run("render", { watch: "lobby" });
    await scene.shows("watch", { state: "open", data: ["one", "two", "three", "four"] });
    await scene.post("lobby", "five");
    await scene.shows("watch", { data: ["one", "two", "three", "four", "five"] });
    expect(scene.watches).toMatchObject({ begun: 2, open: 1 });
  });

  test("a push without a cursor that was hidden begins again with its first data", async () => {
    await using scene = await openReact();
    await scene.run("render", { subscribe: 0 });
    await expect
      .poll(async () => (await scene.run("seen", "subscribe")).data?.length)
      .toBeGreaterThan(3);
    await scene.run("render", { subscribe: 0, hidden: true });
    await expect.poll(() => scene.server.openCalls).toBe(0);
    await scene.run("render", { subscribe: 0 });
    await expect.poll(() => scene.server.openCalls).toBe(1);
    await scene.run("render", {});
    const { data = [] } = await scene.run("seen", "subscribe");
    expect(data).toEqual(data.map((_, n) => `${n + 1}`));
  });

  test("a request with the same fields keeps the call, another one makes a new call", async () => {
    await using scene = await openReact();
    await scene.run("render", { watch: "lobby" });
    await scene.shows("watch", { state: "open" });
    await scene.post("lobby", "one");
    await scene.shows("watch", { data: ["one"] });
    await scene.run("render", { watch: "lobby", state: true });
    await scene.post("lobby", "two");
    await scene.shows("watch", { data: ["one", "two"] });
    expect(scene.watches.begun).toBe(1);
    await scene.run("render", { watch: "attic", state: true });
    await scene.shows("watch", { state: "open", data: [] });
    await scene.post("attic", "three");
    await scene.shows("watch", { data: ["three"] });
    await expect.poll(() => scene.watches).toMatchObject({ begun: 2, open: 1 });
  });

  test("a component sees the end of its call, or its error, and restart() begins another", async () => {
    let fails = true;
    await using scene = await openReact({
      async *subscribe({ count }) {
        for (let sequence = 1n; sequence <= count; sequence++) yield { sequence };
        if (fails) throw new ConnectError("not now", Code.ResourceExhausted);
      },
    });
    await scene.run("render", { subscribe: 2 });
    await scene.shows("subscribe", {
      state: "closed",
      error: "ResourceExhausted",
      data: ["1", "2"],
    });
    fails = false;
    await scene.run("restart");
    await scene.shows("subscribe", { state: "closed", error: undefined, data: ["1", "2"] });
    await scene.run("render", { chat: true });
    await scene.shows("chat", { state: "open" });
    await scene.run("send", "a");
    await scene.run("closeSend");
    await scene.shows("chat", { state: "closed", error: undefined, data: ["Received: a"] });
    expect(await scene.run("send", "b")).toBe("FailedPrecondition");
    await scene.run("restart");
    await scene.shows("chat", { state: "open", data: [] });
    expect(await scene.run("send", "c")).toBe("sent");
    await scene.shows("chat", { data: ["Received: c"] });
  });

  test("many responses at once make few renders, and all of them arrive", async () => {
    await using scene = await openReact();
    await scene.run("render", { subscribe: 2_000 });
    await scene.shows("subscribe", { state: "closed", error: undefined });
    const { data, renders } = await scene.run("seen", "subscribe");
    expect(data).toEqual(Array.from({ length: 2_000 }, (_, n) => `${n + 1}`));
    expect(renders).toBeLessThan(500);
  });

  test("useCallState sees the states of a call that the program made, which outlives the component", async () => {
    await using scene = await openReact();
    await scene.run("render", { state: true });
    await scene.shows("state", { state: "open" });
    await scene.run("render", {});
    await scene.run("render", { state: true });
    await scene.shows("state", { state: "open" });
    expect(scene.chats).toMatchObject({ begun: 1, open: 1 });
    await scene.run("endOwnCall");
    await scene.shows("state", { state: "closed" });
  });

  test("the components of the page about React show a push, and send what is typed", async () => {
    await using scene = await openReact({}, "react-example.tsx");
    const { page } = scene;
    await page.locator('section[aria-busy="false"]').waitFor({ state: "attached" });
    await scene.post("lobby", "dinner", "at seven");
    await page.getByText("dinner, at seven").waitFor();
    await page.getByLabel("Message").fill("ahoy");
    await page.getByLabel("Message").press("Enter");
    await page.getByText("Received: ahoy").waitFor();
  });
});
