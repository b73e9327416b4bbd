/** Calls over TLS: certificates that each end checks, and those that it refuses. */
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport } from "../src/index.ts";
import { all, failureOf } from "./support/read.ts";
import { certs } from "./support/tls.ts";
import { start } from "./support/world.ts";

const tls = { server: { tls: certs.server }, transport: { tls: { ca: certs.ca } } };

describe("TLS", () => {
  test("a TLS server serves a client that checks the CA, by host name and by address", async () => {
    await using world = await start(tls);
    expect(world.url).toMatch(/^https:/);
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
    const { port } = new URL(world.url);
    await using byName = createTransport({
      baseUrl: `https://localhost:${port}`,
      tls: { ca: certs.ca },
    });
    const chat = createClient(Greeter, byName).chat();
    await chat.send({ content: "x" });
    chat.closeSend();
    expect(await all(chat)).toMatchObject([{ reply: "Received: x" }]);
  });

  test.each([
    ["whose CA the client does not know", {}],
    ["signed by another CA", { ca: certs.otherCa }],
    ["for another name", { ca: certs.ca, serverName: "elsewhere.example" }],
  ])(
    "a certificate %s fails calls with UNAVAILABLE that names the address and the reason",
    async (_, clientTls) => {
      await using world = await start({ ...tls, transport: { tls: clientTls } });
      const error = await failureOf(world.greeter.sayHello({}));
      expect(error.code).toBe(Code.Unavailable);
      expect(error.message).toContain(new URL(world.url).host);
      expect(error.message).toMatch(/CERT|SELF_SIGNED|ISSUER|ALTNAME|SIGNATURE/i);
    },
  );

  test("a client accepts any certificate with rejectUnauthorized: false", async () => {
    await using world = await start({ ...tls, transport: { tls: { rejectUnauthorized: false } } });
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  });

  test("a cleartext client at a TLS port, and a TLS client at a cleartext port, fail with UNAVAILABLE", async () => {
    await using secure = await start(tls);
    await using wrong = createTransport({ baseUrl: secure.url.replace("https", "http") });
    const plainError = await failureOf(createClient(Greeter, wrong).sayHello({}));
    expect(plainError.code).toBe(Code.Unavailable);
    await using plain = await start();
    await using wrongToo = createTransport({ baseUrl: plain.url.replace("http", "https") });
    const tlsError = await failureOf(createClient(Greeter, wrongToo).sayHello({}));
    expect(tlsError.code).toBe(Code.Unavailable);
  });
});

describe("mTLS", () => {
  const setup = (pair?: { cert: string; key: string }) => ({
    server: { tls: { ...certs.server, ca: certs.ca } },
    transport: { tls: { ca: certs.ca, ...pair } },
  });

  test("an mTLS server serves a client with a certificate of the CA", async () => {
    await using world = await start(setup(certs.client));
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  });

  test.each([
    ["without a certificate", undefined],
    ["with another CA's certificate", certs.otherClient],
  ])("a call of a client %s fails with UNAVAILABLE, and runs no handler", async (_, pair) => {
    let calls = 0;
    await using world = await start({
      ...setup(pair),
      greeter: {
        sayHello() {
          calls++;
          return {};
        },
      },
    });
    expect((await failureOf(world.greeter.sayHello({}))).code).toBe(Code.Unavailable);
    expect(calls).toBe(0);
  });
});
