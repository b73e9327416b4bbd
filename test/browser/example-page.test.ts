/** The page of `npm start` in Chromium. HAWSER_SCREENSHOTS=FOLDER writes what it looks like. */
import { mkdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { RoomService } from "../../gen/chat/v1/room_pb.js";
import { createClient, createTransport } from "../../src/index.ts";
import { example, type Program, startExampleServer } from "../support/program.ts";
import { temporary } from "../support/temporary.ts";
import { hasChromium, startChromium } from "./chromium.ts";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What the page counts, by the ids of its elements. */
const COUNTS = ["sent", "received", "lost", "repeated"] as const;

const ROOMS = Array.from({ length: 10 }, (_, n) => `room ${n}`);

interface Stage extends AsyncDisposable {
  readonly url: string;
  /** Opens the page in a tab. */
  open(): Promise<Tab>;
  /** Kills the server with SIGKILL. */
  kill(): Promise<void>;
  /** Starts another one at the same port, with the same rooms. */
  restart(): Promise<void>;
}

/** Starts the example server with durable rooms, and Chromium. No tab may report an error or a violation of its policy. */
async function openStage(): Promise<Stage> {
  const folder = await temporary();
  let server: { url: string } & Program = await startExampleServer("--data", folder);
  const { url } = server;
  const browser = await startChromium();
  const context: BrowserContext = await browser.newContext({ reducedMotion: "reduce" });
  const faults: string[] = [];
  context.on("weberror", (error) => faults.push(`${error.error()}`));
  context.on("console", (message) => {
    // Chromium tells of each WebSocket that could not be opened.
    const isExpected = /^WebSocket connection to/.test(message.text());
    if (message.type() === "error" && !isExpected) faults.push(message.text());
  });
  return {
    url,
    async open() {
      const page = await context.newPage();
      await page.goto(url);
      return new Tab(page);
    },
    async kill() {
      server.kill("SIGKILL");
      await server.ended;
    },
    async restart() {
      const again = example("server", "--port", new URL(url).port, "--data", folder);
      await again.prints(/^listening on /);
      server = Object.assign(again, { url });
    },
    async [Symbol.asyncDispose]() {
      await context.close();
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
      expect(faults).toEqual([]);
    },
  };
}

/** A tab, as a user sees it. */
class Tab {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  get room() {
    return this.page.getByRole("tabpanel");
  }

  async join(name: string, room: string): Promise<void> {
    await this.page.getByLabel("Your name").fill(name);
    await this.page.getByLabel("Room", { exact: true }).fill(room);
    await this.page.getByRole("button", { name: "Join" }).dispatchEvent("click");
    await this.room.locator(".members .own").waitFor();
  }

  /** Shows a room that the tab is in. */
  async show(room: string): Promise<void> {
    // click() waits for the next frame, which a hidden tab has once a second.
    await this.page.getByRole("tab", { name: room }).dispatchEvent("click");
  }

  async say(text: string): Promise<void> {
    const field = this.room.getByRole("textbox");
    await field.fill(text);
    await field.press("Enter");
  }

  /** The messages of the room that is shown, and have come back from it. */
  async messages(): Promise<string[]> {
    return await this.room.locator(".messages:not(.pending) .text").allTextContents();
  }

  members(): Promise<string[]> {
    return this.room.locator(".members li").allTextContents();
  }

  async counts(): Promise<Record<(typeof COUNTS)[number], number>> {
    const texts = COUNTS.map(async (id) => [
      id,
      Number(await this.page.locator(`#${id}`).textContent()),
    ]);
    return Object.fromEntries(await Promise.all(texts));
  }

  /** Resolves when the page has read its rooms a second time, which finds what is lost. */
  async checks(rooms: number): Promise<void> {
    const checked = this.page.locator('#room-panels [data-check="done"]');
    await expect.poll(() => checked.count()).toBe(rooms);
  }

  state(): Promise<string | null> {
    return this.page.getByRole("status").textContent();
  }
}

describe.runIf(hasChromium)("the page of the example server", () => {
  test("two tabs talk in ten rooms while the server is killed and started, and no message is lost or comes twice", {
    timeout: 60_000,
  }, async () => {
    await using stage = await openStage();
    const [ada, grace] = [await stage.open(), await stage.open()];
    for (const room of ROOMS) {
      await ada.join("Ada", room);
      await grace.join("Grace", room);
    }
    const talk = async (tab: Tab, name: string) => {
      for (let n = 0; n < 2; n++) {
        for (const room of ROOMS) {
          await tab.show(room);
          await tab.say(`${name} ${n} in ${room}`);
        }
      }
    };
    const talking = Promise.all([talk(ada, "ada"), talk(grace, "grace")]);
    await expect.poll(async () => (await grace.counts()).received).toBeGreaterThan(8);
    await stage.kill();
    await expect.poll(() => ada.state()).toMatch(/does not answer|lost/);
    await talking;
    // Some of the messages wait for a server.
    expect((await ada.counts()).sent).toBe(20);
    expect((await ada.counts()).received).toBeLessThan(40);
    await stage.restart();
    const late = await stage.open();
    for (const tab of [ada, grace]) {
      await expect.poll(() => tab.counts()).toMatchObject({ received: 40 });
    }
    for (const tab of [ada, grace]) {
      await tab.checks(ROOMS.length);
      expect(await tab.counts()).toEqual({ sent: 20, received: 40, lost: 0, repeated: 0 });
    }
    for (const room of ROOMS) {
      for (const tab of [ada, grace]) await tab.show(room);
      const all = await ada.messages();
      expect(await grace.messages()).toEqual(all);
      for (const name of ["ada", "grace"]) {
        const own = all.filter((text) => text.startsWith(name));
        expect(own).toEqual([0, 1].map((n) => `${name} ${n} in ${room}`));
      }
      await late.join("Late", room);
      await expect.poll(() => late.messages()).toEqual(all);
      expect(await ada.members()).toEqual(["Ada", "Grace", "Late"]);
    }
    expect(await ada.state()).toMatch(/^Connected again after /);
    await ada.page.getByLabel("Message to the Greeter").fill("ahoy");
    await ada.page.getByLabel("Message to the Greeter").press("Enter");
    const chat = ada.page.getByRole("log", { name: "Messages of the chat" });
    await expect
      .poll(() => chat.textContent())
      .toMatch(/session of this chat is lost: .*A new chat has begun\..*Received: #1 ahoy/);
  });

  test("a connection that is cut is there again at once, and what is written while it is held back waits", async () => {
    await using stage = await openStage();
    const tab = await stage.open();
    await tab.join("Ada", "lobby");
    await expect.poll(() => tab.state()).toBe("Connected");
    await tab.page.getByRole("button", { name: "Send 100" }).click();
    for (let cut = 0; cut < 5; cut++) {
      await tab.page.getByRole("button", { name: "Cut the connection" }).click();
      await expect.poll(() => tab.page.locator("#losses").textContent()).toBe(`${cut + 1}`);
      await expect.poll(() => tab.state()).toMatch(/^Connected again/);
    }
    await expect.poll(() => tab.state()).toMatch(/^Connected again after \d+ ms$/);
    await tab.page.getByRole("button", { name: "Keep it cut" }).click();
    await expect.poll(() => tab.state()).toBe("Cut: what you write waits");
    await tab.say("waits");
    const waiting = tab.room.getByRole("list", { name: "Waiting" });
    expect(await waiting.textContent()).toContain("waits");
    await tab.page.getByRole("button", { name: "Connect again" }).click();
    await expect.poll(() => tab.messages()).toEqual(["waits"]);
    expect(await waiting.count()).toBe(0);
    const all = { sent: 101, received: 101, lost: 0, repeated: 0 };
    await expect.poll(() => tab.counts()).toEqual(all);
    await tab.checks(1);
    expect(await tab.counts()).toEqual(all);
    expect(Number(await tab.page.locator("#losses").textContent())).toBe(6);
  });

  test("a tab that is loaded again is in its rooms again, with their history", async () => {
    await using stage = await openStage();
    const tab = await stage.open();
    await tab.join("Ada", "lobby");
    await tab.say("before");
    await expect.poll(() => tab.messages()).toEqual(["before"]);
    await tab.join("Ada", "harbour");
    await using transport = createTransport({ baseUrl: stage.url });
    const client = createClient(RoomService, transport);
    for (let n = 1; n <= 30; n++) {
      const sequence = BigInt(n);
      await client.post({ room: "lobby", name: "bob", text: `post ${n}`, producer: "p", sequence });
    }
    await tab.page.getByRole("tab", { name: "lobby 30 unread" }).waitFor();
    await tab.page.reload();
    // What was there before is not unread.
    await tab.page.getByRole("tab", { name: "lobby", exact: true }).click();
    await expect.poll(() => tab.messages()).toHaveLength(31);
    const ofRoom = tab.room.getByRole("log");
    expect(await ofRoom.evaluate((log) => log.scrollHeight > log.clientHeight)).toBe(true);
    await expect
      .poll(() => ofRoom.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight))
      .toBeLessThan(2);
    for (let left = 0; left < 2; left++) {
      await tab.room.getByRole("button", { name: "Leave" }).click();
    }
    await tab.page.getByText("Join a room").waitFor();
    await tab.page.reload();
    expect(await tab.room.count()).toBe(0);
  });

  test("names and messages of others are shown as text, and typing and unread messages are told", async () => {
    await using stage = await openStage();
    const tab = await stage.open();
    await tab.join("Ada", "lobby");
    await using transport = createTransport({ baseUrl: stage.url });
    const call = createClient(RoomService, transport).join();
    const [name, text] = [
      "<b>bob</b>",
      "<img src=x onerror='document.title=1'>\n<script>1</script>",
    ];
    await call.send({ event: { case: "open", value: { room: "lobby", name, producer: "p" } } });
    await call.send({ event: { case: "typing", value: {} } });
    await tab.room.getByText(`${name} is typing…`).waitFor();
    await call.send({ event: { case: "say", value: { text, sequence: 1n } } });
    await expect.poll(() => tab.messages()).toEqual([text]);
    expect(await tab.members()).toEqual([name, "Ada"]);
    expect(await tab.room.locator("img, script, .messages b b").count()).toBe(0);
    await tab.join("Ada", "<i>harbour");
    await call.send({ event: { case: "say", value: { text: "again", sequence: 2n } } });
    await tab.page.getByRole("tab", { name: "lobby 1 unread" }).waitFor();
    await tab.page.getByRole("tab", { name: "<i>harbour" }).press("ArrowLeft");
    await expect.poll(() => tab.messages()).toEqual([text, "again"]);
    call.cancel();
  });

  test("a name that is not fit for a room is refused beside its field", async () => {
    await using stage = await openStage();
    const tab = await stage.open();
    await tab.page.getByLabel("Your name").fill("Аda");
    await tab.page.getByRole("button", { name: "Join" }).click();
    const field = tab.page.getByLabel("Your name");
    const fault = await field.evaluate((input: HTMLInputElement) => input.validationMessage);
    expect(fault).toMatch(/^It mixes scripts/);
    expect(await tab.room.count()).toBe(0);
  });

  test("axe finds nothing, and nothing is wider than the window, at any width and in both colour schemes", async () => {
    await using stage = await openStage();
    const [tab, other] = [await stage.open(), await stage.open()];
    for (const [who, name] of [
      [tab, "Ada"],
      [other, "Grace"],
    ] as const) {
      for (const room of ["harbour", "lobby"]) await who.join(name, room);
    }
    await other.show("harbour");
    await other.say("The ship is here.");
    await other.show("lobby");
    await tab.say("Dinner at seven?");
    await expect.poll(() => other.messages()).toHaveLength(1);
    await other.say("Yes. I cut my connection meanwhile, and nothing was lost.");
    await expect.poll(() => tab.messages()).toHaveLength(2);
    await tab.page.getByLabel("Message to the Greeter").fill("ahoy");
    await tab.page.getByRole("button", { name: "Send", exact: true }).last().click();
    await tab.page.getByRole("button", { name: "Cut the connection" }).click();
    await expect.poll(() => tab.state()).toMatch(/^Connected again after /);
    await tab.say("See you there!");
    await expect.poll(() => tab.messages()).toHaveLength(3);
    const folder = process.env.HAWSER_SCREENSHOTS;
    for (const colorScheme of ["light", "dark"] as const) {
      await tab.page.emulateMedia({ colorScheme });
      for (const [width, height] of [
        [360, 780],
        [800, 1500],
        [1440, 940],
      ] as const) {
        await tab.page.setViewportSize({ width, height });
        const found = await tab.page.evaluate(
          `${axe}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]))`,
        );
        expect(found).toEqual([]);
        expect(await tab.page.evaluate("document.documentElement.scrollWidth")).toBe(width);
        if (folder === undefined) continue;
        mkdirSync(folder, { recursive: true });
        const path = join(folder, `page-${width}-${colorScheme}.png`);
        await tab.page.evaluate("scrollTo(0, 0)");
        await tab.page.screenshot({ path });
      }
    }
  });
});
