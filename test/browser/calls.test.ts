/** Calls of hawser/web in Chromium. */
import { describe, expect, test } from "vitest";
import { Code } from "../../src/index.ts";
import { hasChromium, openPage } from "./browser.ts";

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
      expect(scene.opened).toEqual(["/hawser"]);
      expect(await scene.run("policy")).toEqual({ before: [], isEvalAllowed: false, after: 1 });
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
    const refused = await scene.run("failure", { baseUrl: scene.link.url });
    expect(refused).toMatchObject({ code: Code.Unavailable });
    expect(refused?.message).toContain("is this page's origin among its origins");
    expect(scene.server.openCalls).toBe(0);
  });

  test("a push that the page does not read stops, and other calls continue", async () => {
    await using scene = await openPage();
    const { reply, unreadBytes } = await scene.run("unread", 1500);
    expect(reply).toBe("Hello, beside");
    expect(unreadBytes).toBeGreaterThan(10_000);
    expect(unreadBytes).toBeLessThan(4_000_000);
  });
});
