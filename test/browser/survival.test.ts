/** Calls of hawser/web in Chromium whose network is cut, silent, gone, or whose page is in the back/forward cache. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { hasChromium, openPage } from "./browser.ts";

/** How long each loss of a chat lasted, from "resuming" to "open", in milliseconds. */
function lossesOf(states: readonly [string, number][]): number[] {
  return states.flatMap(([state, atMs], at) => {
    const before = states[at - 1];
    return state === "open" && before?.[0] === "resuming" ? [atMs - before[1]] : [];
  });
}

describe.runIf(hasChromium)("in a page", () => {
  test("a chat of 10,000 messages in both directions survives cuts, and is open again within 500 ms", async () => {
    await using scene = await openPage();
    await scene.run("openChat", "chat");
    // Before its session has begun, a chat does not survive cuts that come one after the other.
    await scene.run("send", "chat", 1);
    await expect.poll(async () => (await scene.run("read", "chat"))?.got).toBe(1);
    let isSending = true;
    const sending = scene.run("send", "chat", 9_999).finally(() => {
      isSending = false;
    });
    let cuts = 0;
    for (; isSending || cuts < 3; cuts++) {
      await sleep(50);
      await scene.link.cut();
    }
    await sending;
    const result = await scene.run("end", "chat");
    expect(result).toMatchObject({ sent: 10_000, got: 10_000, wrong: 0, error: "" });
    const losses = lossesOf(result?.states ?? []);
    expect(losses.length).toBeGreaterThan(0);
    expect(Math.max(...losses)).toBeLessThan(500);
  });

  test("a silent link is found by keepalive", async () => {
    await using scene = await openPage();
    const keepalive = { intervalMs: 1000, timeoutMs: 1000 };
    await scene.run("openChat", "chat", { keepalive });
    await scene.run("send", "chat", 1);
    await expect.poll(async () => (await scene.run("read", "chat"))?.got).toBe(1);
    const stall = scene.link.stall();
    const began = performance.now();
    await scene.run("send", "chat", 1);
    const state = async () => (await scene.run("read", "chat"))?.states.at(-1)?.[0];
    await expect.poll(state, { timeout: 5000 }).toBe("resuming");
    expect(performance.now() - began).toBeLessThan(2600);
    stall[Symbol.dispose]();
    await scene.link.cut();
    expect(await scene.run("end", "chat")).toMatchObject({ got: 2, wrong: 0, error: "" });
  });

  test("a chat continues at once when the machine is online again", async () => {
    await using scene = await openPage();
    await scene.run("openChat", "chat");
    await scene.run("send", "chat", 1);
    await expect.poll(async () => (await scene.run("read", "chat"))?.got).toBe(1);
    await scene.context.setOffline(true);
    await scene.link.cut();
    // The pauses between attempts grow.
    await sleep(4000);
    await scene.context.setOffline(false);
    const began = performance.now();
    const state = async () => (await scene.run("read", "chat"))?.states.at(-1)?.[0];
    await expect.poll(state, { interval: 10 }).toBe("open");
    expect(performance.now() - began).toBeLessThan(500);
    expect(await scene.run("end", "chat")).toMatchObject({ got: 1, wrong: 0, error: "" });
  });

  test("a chat continues when its page returns from the back/forward cache", async () => {
    await using scene = await openPage();
    await scene.run("openChat", "chat");
    await scene.run("send", "chat", 20);
    await expect.poll(async () => (await scene.run("read", "chat"))?.got).toBe(20);
    await scene.page.goto(new URL("/other", scene.page.url()).href);
    await sleep(1000);
    // page.goBack() waits for a load event, which such a page does not have.
    await scene.page.evaluate(() => history.back());
    await expect
      .poll(() => scene.page.evaluate(() => "page" in window).catch(() => false))
      .toBe(true);
    expect(await scene.run("restored")).toContain(true);
    await scene.run("send", "chat", 20);
    const result = await scene.run("end", "chat");
    expect(result).toMatchObject({ sent: 40, got: 40, wrong: 0, error: "" });
    expect(lossesOf(result?.states ?? [])).toHaveLength(1);
  });
});
