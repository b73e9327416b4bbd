/** Calls of hawser/web in Chromium whose network is cut, silent, gone, or whose page is in the back/forward cache. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { TransportOptions } from "../../src/web.ts";
import { stillAt, until } from "../support/gate.ts";
import { openPage, type Scene } from "./browser.ts";
import { hasChromium } from "./chromium.ts";

/** Opens a chat that has its session: before that, it does not survive cuts that come one after the other. */
async function openChat(scene: Scene, options?: Partial<TransportOptions>): Promise<void> {
  await scene.run("openChat", "chat", options);
  await scene.run("send", "chat", 1);
  await expect.poll(() => gotBy(scene)).toBe(1);
}

const readChat = (scene: Scene) => scene.run("read", "chat");
const gotBy = async (scene: Scene) => (await readChat(scene))?.got;
const stateOf = async (scene: Scene) => (await readChat(scene))?.states.at(-1)?.[0];

/** How long each loss of a chat lasted, from "resuming" to "open", in milliseconds. */
function lossesOf(states: readonly [string, number][]): number[] {
  return states.flatMap(([state, atMs], at) => {
    const before = states[at - 1];
    return state === "open" && before?.[0] === "resuming" ? [atMs - before[1]] : [];
  });
}

/**
 * The link delivers nothing until what this returns is disposed. Resolves when the chat has noticed, with how long that took in
 * milliseconds, on the clock of the page.
 */
async function silence(scene: Scene): Promise<Disposable & { noticedAfterMs: number }> {
  const stall = scene.link.stall();
  const { now = 0 } = (await readChat(scene)) ?? {};
  await expect.poll(() => stateOf(scene)).toBe("resuming");
  const [, atMs = 0] = (await readChat(scene))?.states.at(-1) ?? [];
  return { noticedAfterMs: atMs - now, [Symbol.dispose]: () => stall[Symbol.dispose]() };
}

describe.runIf(hasChromium)("in a page", () => {
  test("a chat is open again within 500 ms after a cut", async () => {
    await using scene = await openPage();
    await openChat(scene);
    for (let cuts = 1; cuts <= 5; cuts++) {
      await scene.link.cut();
      await scene.run("send", "chat", 1);
      await expect.poll(() => gotBy(scene)).toBe(cuts + 1);
    }
    const result = await scene.run("end", "chat");
    expect(result).toMatchObject({ sent: 6, got: 6, wrong: 0, error: "" });
    const losses = lossesOf(result?.states ?? []);
    expect(losses).toHaveLength(5);
    // The median: on a busy machine the page may have to wait for its turn.
    expect(losses.toSorted((a, b) => a - b)[2]).toBeLessThan(500);
  });

  test("a chat of 10,000 messages in both directions survives cuts in the middle of messages", async () => {
    await using scene = await openPage();
    const { link } = scene;
    await openChat(scene);
    // So that each cut finds messages on their way.
    link.up.bytesPerSecond = link.down.bytesPerSecond = 500_000;
    const sending = scene.run("send", "chat", 9_999);
    for (const direction of ["up", "down", "up"] as const) await link.cutAfter(direction, 10_001);
    await sending;
    const result = await scene.run("end", "chat");
    expect(result).toMatchObject({ sent: 10_000, got: 10_000, wrong: 0, error: "" });
    expect(lossesOf(result?.states ?? []).length).toBeGreaterThan(0);
  });

  test("a chat of 10,000 messages in both directions loses nothing on a link that is cut, silent for 20 s, and refuses connections", {
    timeout: 90_000,
  }, async () => {
    await using scene = await openPage();
    const { link } = scene;
    await openChat(scene, { keepalive: { intervalMs: 2000, timeoutMs: 1000 } });
    // So that each fault finds messages on their way, in both directions.
    link.up.bytesPerSecond = link.down.bytesPerSecond = 100_000;
    const sending = scene.run("send", "chat", 9_999);
    const passes = async (bytes: number) => {
      const [up, down] = [link.up.delivered + bytes, link.down.delivered + bytes];
      const passed = () => link.up.delivered > up && link.down.delivered > down;
      await until(`${bytes} B have passed in both directions`, passed, 20_000);
    };
    await link.cutAfter("up", 20_000);
    await link.cutAfter("down", 20_000);
    await passes(20_000);

    const silentFrom = performance.now();
    const silent = await silence(scene);
    expect(silent.noticedAfterMs).toBeLessThan(3500);
    await sleep(20_000 - (performance.now() - silentFrom));
    silent[Symbol.dispose]();
    await passes(20_000);

    const refusal = link.refuse();
    const { accepted } = link;
    await link.cut();
    await until("two connections were refused", () => link.accepted >= accepted + 2, 20_000);
    refusal[Symbol.dispose]();
    await passes(20_000);

    await sending;
    const result = await scene.run("end", "chat");
    expect(result).toMatchObject({ sent: 10_000, got: 10_000, wrong: 0, error: "" });
    expect(lossesOf(result?.states ?? []).length).toBeGreaterThanOrEqual(3);
  });

  test("a silent link is found within the sum of keepalive's times and 500 ms", async () => {
    await using scene = await openPage();
    await openChat(scene, { keepalive: { intervalMs: 1000, timeoutMs: 1000 } });
    const silent = await silence(scene);
    expect(silent.noticedAfterMs).toBeLessThan(2500);
    await scene.run("send", "chat", 1);
    silent[Symbol.dispose]();
    await scene.link.cut();
    expect(await scene.run("end", "chat")).toMatchObject({ got: 2, wrong: 0, error: "" });
  });

  // What Chromium calls offline is a silent network for a WebSocket that is open, and a lost one for all others.
  test("what is sent while Chromium is offline waits in its WebSocket, which continues when it is online again", async () => {
    await using scene = await openPage();
    const { link } = scene;
    await openChat(scene);
    const [delivered, accepted] = [await stillAt(() => link.up.delivered), link.accepted];
    await scene.context.setOffline(true);
    await scene.run("send", "chat", 100);
    expect(await scene.run("network")).toEqual({ events: ["offline"], isOnLine: false });
    expect(await stillAt(() => link.up.delivered, 500)).toBe(delivered);
    await scene.context.setOffline(false);
    await expect.poll(() => gotBy(scene)).toBe(101);
    expect(await scene.run("network")).toEqual({ events: ["offline", "online"], isOnLine: true });
    const result = await scene.run("end", "chat");
    expect(result).toMatchObject({ got: 101, wrong: 0, error: "" });
    expect(lossesOf(result?.states ?? [])).toEqual([]);
    expect(link.accepted).toBe(accepted);
  });

  test("a chat continues at once when the machine is online again", async () => {
    await using scene = await openPage();
    await openChat(scene);
    await scene.context.setOffline(true);
    await scene.link.cut();
    // The pauses between attempts grow: after the seventh that fails, the next is longer than a second.
    const attempts = async () => (await scene.run("webSockets")).length;
    await expect.poll(attempts, { interval: 10 }).toBe(8);
    await scene.context.setOffline(false);
    const { now = 0 } = (await readChat(scene)) ?? {};
    await expect.poll(() => stateOf(scene)).toBe("open");
    const [, atMs = Infinity] = (await readChat(scene))?.states.at(-1) ?? [];
    expect(atMs - now).toBeLessThan(500);
    expect(await scene.run("end", "chat")).toMatchObject({ got: 1, wrong: 0, error: "" });
  });

  test("a chat continues when its page returns from the back/forward cache", async () => {
    await using scene = await openPage();
    await openChat(scene);
    await scene.run("send", "chat", 19);
    await expect.poll(() => gotBy(scene)).toBe(20);
    await scene.page.goto(new URL("/other", scene.page.url()).href);
    // Chromium closes the WebSocket when the page returns, and not before.
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
