/** Calls of hawser/web in Chromium. */
import { describe, expect, test } from "vitest";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { Code } from "../../src/index.ts";
import { stillAt } from "../support/gate.ts";
import { openPage } from "./browser.ts";
import { hasChromium } from "./chromium.ts";

/** What a stream may send before the application takes any of it (docs/limits.md). */
const WINDOW_BYTES = 65_535;
const KIB = "x".repeat(1024);

describe.runIf(hasChromium)("in a page", () => {
  test.each([true, false])(
    "the four kinds of calls work under a strict policy (sessions: %s)",
    async (sessions) => {
      await using scene = await openPage();
      expect(await scene.run("everyKind", { sessions })).toEqual({
        reply: "Hello, page",
        replies: ["Received: a", "Received: ä", "Received: €"],
        trailers: ["grpc-status"],
        count: 10,
        bytes: 500_000,
        pushed: [1, 2, 3],
      });
      expect(await scene.run("webSockets")).toEqual([
        scene.link.url.replace("http", "ws").concat("/hawser"),
      ]);
      expect(await scene.run("policy")).toEqual({
        before: [],
        isEvalAllowed: false,
        after: [{ directive: "script-src", blocked: "eval" }],
      });
    },
  );

  test("compressed messages pass in both directions", async () => {
    await using scene = await openPage();
    const result = await scene.run("everyKind", { sendCompression: "gzip" });
    expect(result).toMatchObject({ count: 10, bytes: 500_000 });
  });

  test("a deadline, and a place without a WebSocket, end calls with their codes", async () => {
    await using scene = await openPage();
    const late = await scene.run("failure", {}, 200);
    expect(late).toMatchObject({ code: Code.DeadlineExceeded });
    const began = performance.now();
    const forbidden = await scene.run("failure", { baseUrl: "http://localhost:9" });
    expect(forbidden).toMatchObject({ code: Code.Unavailable });
    expect(forbidden?.message).toMatch(/ws:\/\/localhost:9\/hawser.*connect-src/);
    await scene.server.kill();
    const gone = await scene.run("failure", {});
    expect(gone).toMatchObject({ code: Code.Unavailable });
    expect(performance.now() - began).toBeLessThan(3000);
  });

  test("a page of another origin is refused by a server that does not name it", async () => {
    await using scene = await openPage();
    const refused = await scene.run("failure", { baseUrl: scene.server.url });
    expect(refused).toMatchObject({ code: Code.Unavailable });
    expect(refused?.message).toContain("is this page's origin among its origins");
    expect(scene.server.openCalls).toBe(0);
  });

  test("a push that the page does not read stops at one window, and other calls on its connection continue", async () => {
    let pushed = 0;
    await using scene = await openPage({
      routes: (router) =>
        router.service(Greeter, {
          sayHello: ({ content }) => ({ reply: `Hello, ${content}` }),
          async *subscribe(_request, { signal }) {
            while (!signal.aborted) yield { sequence: BigInt(++pushed), content: KIB };
          },
        }),
    });
    await scene.run("openPush");
    const halted = await stillAt(() => pushed);
    for (let n = 0; n < 100; n++) {
      const { reply, unreadBytes } = await scene.run("callBesidePush", `${n}`);
      expect(reply).toBe(`Hello, ${n}`);
      expect(unreadBytes).toBeGreaterThan(WINDOW_BYTES / 2);
    }
    expect(pushed).toBe(halted);
    // The handler is at a message that the window has no more capacity for, or at the one after it.
    expect(halted).toBeLessThanOrEqual(WINDOW_BYTES / KIB.length + 2);
    expect(await scene.run("webSockets")).toHaveLength(1);
    await scene.run("endPush");
  });
});
