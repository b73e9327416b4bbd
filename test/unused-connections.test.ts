import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { UnusedConnections } from "../src/connection/unused-connections.ts";
import { createClient, createTransport } from "../src/index.ts";
import { all, next } from "./support/read.ts";
import { start } from "./support/world.ts";

class Fake {
  unusedSinceMs: number | undefined = 0;
  isClosed = false;
  close(): void {
    this.isClosed = true;
  }
}

const closed = (fakes: readonly Fake[]) => fakes.filter(({ isClosed }) => isClosed).length;

/** Adds connections of a client. */
function add(to: UnusedConnections<Fake>, client: string, count: number): Fake[] {
  const fakes = Array.from({ length: count }, () => new Fake());
  for (const fake of fakes) to.add(client, fake);
  return fakes;
}

test("a connection of the client is closed that has had no call for a second", () => {
  const unused = new UnusedConnections<Fake>();
  const [one, other] = add(unused, "ada", 2) as [Fake, Fake];
  const others = add(unused, "eve", 2);
  one.unusedSinceMs = 500;
  expect(unused.closeOne("ada", 999)).toBe(false);
  expect(unused.closeOne("ada", 1000)).toBe(true);
  expect([one.isClosed, other.isClosed]).toEqual([false, true]);
  expect(unused.closeOne("ada", 1499)).toBe(false);
  expect(unused.closeOne("ada", 1500)).toBe(true);
  expect(unused.closeOne("ada", 9000)).toBe(false);
  expect(closed(others)).toBe(0);
});

test("connections with open calls are never closed, and hide those without for a few looks only", () => {
  const unused = new UnusedConnections<Fake>();
  const used = add(unused, "ada", 100);
  for (const one of used) one.unusedSinceMs = undefined;
  const idle = add(unused, "ada", 3);
  for (let look = 0; look < 20; look++) unused.closeOne("ada", 1000);
  expect([closed(used), closed(idle)]).toEqual([0, 3]);
});

test("a new connection of an address that has all it may have takes the place of one that nobody uses", async () => {
  await using world = await start({ server: { maxConnections: 9 } });
  await using transports = new AsyncDisposableStack();
  const greeterOfOwn = () => {
    const transport = transports.use(createTransport({ baseUrl: world.url }));
    return createClient(Greeter, transport);
  };
  const serves = (greeter: ReturnType<typeof greeterOfOwn>) => async () => {
    const { reply } = await greeter.sayHello({ content: "Ada" });
    return reply;
  };
  const chat = greeterOfOwn().chat();
  await chat.send({ content: "held" });
  await next(chat);
  const others = Array.from({ length: 7 }, greeterOfOwn);
  for (const other of others) await serves(other)();

  await expect.poll(serves(greeterOfOwn()), { timeout: 9_000 }).toBe("Hello, Ada");
  // The client of the connection that was closed dials again.
  await expect.poll(serves(others[0] as (typeof others)[0]), { timeout: 9_000 }).toBe("Hello, Ada");
  // The one whose call is open has kept its connection.
  await chat.send({ content: "still" });
  chat.closeSend();
  expect(await all(chat)).toHaveLength(1);
}, 20_000);
