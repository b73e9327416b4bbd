/** What requests over HTTP/1.1 hold while they arrive, and responses that are not read: the budgets of a server count it. */
import { once } from "node:events";
import { connect } from "node:net";
import { expect, test, vi } from "vitest";
import { until } from "./support/gate.ts";
import { serverRecorder } from "./support/recorder.ts";
import { start } from "./support/world.ts";

const MB = 1_000_000;

/** A client that has sent the headers of a SayHello, whose content has so many bytes. */
async function uploading(url: string, bytes: number) {
  const [before, after] = ['{"content":"', '"}'];
  const length = before.length + bytes + after.length;
  const part = (from: number, to: number) =>
    `${before}${"x".repeat(bytes)}${after}`.slice(from, to);
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk;
  });
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await once(socket, "connect");
  socket.write(
    `POST /example.Greeter/SayHello HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`,
  );
  let sent = 0;
  return {
    send(more = length) {
      socket.write(part(sent, sent + more));
      sent += more;
    },
    stopReading: () => void socket.pause(),
    get status() {
      return /^HTTP\/1\.1 (\d+)/.exec(received)?.[1];
    },
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await closed;
    },
  };
}

test("of bodies that arrive in part only the oldest is read above the budget, and all are served when they are complete", async () => {
  await using world = await start({
    greeter: { sayHello: ({ content }) => ({ reply: String(content.length) }) },
    // A caller alone may hold 3.55 MB. Above half of that only the oldest message continues.
    server: { serverBudgetBytes: 4 * MB },
  });
  const unread = () => world.server.stats().unreadBytes;
  await using stack = new AsyncDisposableStack();
  const clients: Awaited<ReturnType<typeof uploading>>[] = [];
  for (let n = 0; n < 5; n++) clients.push(stack.use(await uploading(world.url, MB)));
  for (const client of clients) client.send(900_000);
  await until("the others wait", () => unread() > 1.8 * MB);
  expect(unread()).toBeLessThan(3.55 * MB);
  expect(world.server.openCalls).toBe(5);
  for (const client of clients) client.send();
  await until("all are served", () => clients.every(({ status }) => status === "200"));
  await until("no call is open", () => world.server.openCalls === 0);
  expect(unread()).toBe(0);
});

test("a request is refused while its client holds more than its share, and the refusal is told", async () => {
  const observe = serverRecorder();
  await using world = await start({
    server: { serverBudgetBytes: 200_000, observe: observe.observer },
  });
  await using holding = await uploading(world.url, MB);
  holding.send(900_000);
  await until("it has arrived", () => world.server.stats().unreadBytes > 800_000);
  await using refused = await uploading(world.url, 10);
  await until("it is answered", () => refused.status !== undefined);
  expect(refused.status).toBe("503");
  expect(observe.of("limitRefused")[0]).toMatchObject({
    limit: "serverBudgetBytes",
    caller: { peer: { address: "127.0.0.1" } },
  });
});

test("responses that clients do not read count, and the largest end above the share of a caller", async () => {
  const observe = serverRecorder();
  using logged = vi.spyOn(console, "error");
  const reply = "x".repeat(4 * MB);
  await using world = await start({
    greeter: { sayHello: () => ({ reply }) },
    server: { serverBudgetBytes: 12 * MB, observe: observe.observer },
  });
  await using stack = new AsyncDisposableStack();
  const clients: Awaited<ReturnType<typeof uploading>>[] = [];
  for (let n = 0; n < 16; n++) clients.push(stack.use(await uploading(world.url, 1)));
  for (const client of clients) {
    client.stopReading();
    client.send();
  }
  await until("some have ended", () => observe.names.includes("limitRefused"));
  expect(observe.of("limitRefused")[0]).toMatchObject({ limit: "serverBudgetBytes" });
  // 8/9 of the budget.
  await until("no more is held than the share", () => {
    return world.server.stats().unreadBytes < 10.7 * MB && world.server.openCalls < 16;
  });
  expect(world.server.stats().unreadBytes).toBeGreaterThan(0);
  await stack.disposeAsync();
  await until("no call is open", () => world.server.openCalls === 0);
  expect(logged).not.toHaveBeenCalled();
});

test("a client that leaves holds nothing any more", async () => {
  await using world = await start();
  {
    await using client = await uploading(world.url, MB);
    client.send(500_000);
    await until("it has arrived", () => world.server.stats().unreadBytes >= 500_000);
    expect(world.server.stats().callers).toBe(1);
  }
  await until("no call is open", () => world.server.openCalls === 0);
  await until("the caller is gone", () => world.server.stats().callers === 0);
  expect(world.server.stats().unreadBytes).toBe(0);
});

test("a request that only announces a large body takes no memory for it", async () => {
  await using world = await start();
  await using stack = new AsyncDisposableStack();
  const before = process.memoryUsage().arrayBuffers;
  for (let n = 0; n < 20; n++) stack.use(await uploading(world.url, 4 * MB));
  await until("all requests are open", () => world.server.openCalls === 20);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 * MB);
});
