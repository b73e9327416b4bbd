/** Requests of HTTP/1.1 that no client of an RPC sends. */
import { describe, expect, test } from "vitest";
import { rawClient, requestText } from "./support/raw-web-socket.ts";
import { start } from "./support/world.ts";

describe("a request", () => {
  const path = "/example.Greeter/SayHello";
  const json = { "content-type": "application/json", "content-length": "2" };

  test.each([
    ["of HTTP/1.0 without a host", `POST ${path} HTTP/1.0\r\n\r\n`],
    ["with a host that is none", requestText(path, { host: "a b", ...json }, "POST")],
    ["with a port that is none", requestText(path, { host: "a:70000", ...json }, "POST")],
    [
      "with a host that ends within an address",
      requestText(path, { host: "[::1", ...json }, "POST"),
    ],
    ["whose path is an authority that is none", requestText("//[", { host: "x" })],
  ])("%s is answered with 400, and the server serves others", async (_, text) => {
    await using world = await start();
    using client = await rawClient(world.url);
    client.socket.write(text);
    expect((await client.closed).toString("latin1")).toMatch(/^HTTP\/1\.1 400 /);
    expect((await world.greeter.sayHello({ content: "Ada" })).reply).toBe("Hello, Ada");
    expect(world.logged).toEqual([]);
  });
});
