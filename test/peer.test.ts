import * as tls from "node:tls";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../src/index.ts";
import { readAltNames } from "../src/node/socket-peer.ts";
import { Callers } from "../src/server/callers.ts";
import { forwardedFor } from "../src/server/forwarded.ts";
import { caller, createServer, type Peer } from "../src/server.ts";
import { temporaryFile } from "./support/temporary.ts";
import { certs } from "./support/tls.ts";
import { type Setup, start } from "./support/world.ts";

/** A world whose handlers note the peers of their callers. */
async function watched(setup: Pick<Setup, "server" | "transport" | "listen">) {
  const peers: Peer[] = [];
  const world = await start({
    ...setup,
    greeter: {
      sayHello(_, context) {
        peers.push(caller(context).peer);
        return {};
      },
    },
  });
  return { world, peers };
}

describe("the certificate of a client", () => {
  const mTls = { server: { tls: { ...certs.server, ca: certs.ca } } };

  test("has its subject, its names, its fingerprint and its SPIFFE ID", async () => {
    const transport = { tls: { ca: certs.ca, ...certs.client } };
    const { world, peers } = await watched({ ...mTls, transport });
    await using _world = world;
    await world.greeter.sayHello({});
    expect(peers).toMatchObject([{ address: "127.0.0.1", isEncrypted: true, proxy: undefined }]);
    expect(peers[0]?.certificate).toEqual({
      isTrusted: true,
      subject: { O: "Test", OU: ["one", "two"], CN: "test client" },
      subjectAltNames: ["URI:spiffe://test.example/client", "DNS:client.example"],
      fingerprint256: expect.stringMatching(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/),
      spiffeId: "spiffe://test.example/client",
    });
  });

  test("is not trusted if the server has no CA, and then has no SPIFFE ID", async () => {
    const { world, peers } = await watched({
      server: { tls: { ...certs.server, requestClientCertificate: true } },
      transport: { tls: { ca: certs.ca, ...certs.client } },
    });
    await using _world = world;
    await world.greeter.sayHello({});
    expect(peers[0]?.certificate).toMatchObject({ isTrusted: false, spiffeId: undefined });
  });

  test("is not trusted for a CA that Node trusts, if the server has none", async () => {
    const trusted = tls.getCACertificates("default");
    try {
      tls.setDefaultCACertificates([...trusted, certs.ca]);
      const { world, peers } = await watched({
        server: { tls: { ...certs.server, requestClientCertificate: true } },
        transport: { tls: { ca: certs.ca, ...certs.client } },
      });
      await using _world = world;
      await world.greeter.sayHello({});
      world.server.setTls(certs.server);
      await using transport = createTransport({
        baseUrl: world.url,
        tls: { ca: certs.ca, ...certs.client },
      });
      await createClient(Greeter, transport).sayHello({});
      const untrusted = { certificate: { isTrusted: false, spiffeId: undefined } };
      expect(peers).toMatchObject([untrusted, untrusted]);
    } finally {
      tls.setDefaultCACertificates(trusted);
    }
  });

  test("is missing if the client has none", async () => {
    const { world, peers } = await watched({
      server: { tls: certs.server },
      transport: { tls: { ca: certs.ca } },
    });
    await using _world = world;
    await world.greeter.sayHello({});
    expect(peers).toMatchObject([{ isEncrypted: true, certificate: undefined }]);
  });
});

test.each([
  ["DNS:a.example", ["DNS:a.example"]],
  ["URI:spiffe://a/b, IP Address:10.0.0.1", ["URI:spiffe://a/b", "IP Address:10.0.0.1"]],
  // A name that contains ", URI:…" is no second name.
  ['DNS:"a, URI:spiffe://evil/admin", DNS:b', ["DNS:a, URI:spiffe://evil/admin", "DNS:b"]],
  ['URI:"spiffe://a/\\"b\\u0000"', ['URI:spiffe://a/"b\0']],
  ["", []],
])("the alternative names %s are read one by one", (listed, names) => {
  expect(readAltNames(listed)).toEqual(names);
});

describe("behind trusted proxies", () => {
  const proxied = async (trustedProxies: string[], headers: Record<string, string>) => {
    const { world, peers } = await watched({ server: { trustedProxies } });
    await using _world = world;
    await world.greeter.sayHello({}, { headers });
    return peers[0];
  };

  test.each<[string, Record<string, string>, string | undefined]>([
    ["x-forwarded-for", { "x-forwarded-for": "203.0.113.7" }, "203.0.113.7"],
    ["forwarded", { forwarded: "for=203.0.113.7;proto=https" }, "203.0.113.7"],
    ["forwarded of IPv6", { forwarded: 'For="[2001:db8::1]:4711"' }, "2001:db8::1"],
    ["IPv6 in x-forwarded-for", { "x-forwarded-for": "2001:db8::1" }, "2001:db8::1"],
    ["a port", { "x-forwarded-for": "203.0.113.7:4711" }, "203.0.113.7"],
    [
      "both headers with one client",
      { forwarded: "for=203.0.113.7", "x-forwarded-for": "203.0.113.7" },
      "203.0.113.7",
    ],
    [
      // A proxy has written one of them, and the client the other.
      "both headers with two clients",
      { forwarded: "for=203.0.113.7", "x-forwarded-for": "203.0.113.8" },
      undefined,
    ],
    ["IPv4 in IPv6", { "x-forwarded-for": "::ffff:203.0.113.7" }, "203.0.113.7"],
    [
      "what a client says itself",
      { "x-forwarded-for": "198.51.100.1, 203.0.113.7" },
      "203.0.113.7",
    ],
    [
      "a trusted proxy before the last one",
      { "x-forwarded-for": "203.0.113.7, 10.1.2.3" },
      "203.0.113.7",
    ],
    ["trusted proxies alone", { "x-forwarded-for": "10.1.2.3, 10.1.2.4" }, "10.1.2.3"],
    ["an unknown client", { forwarded: "for=unknown" }, undefined],
    ["a quoted comma", { forwarded: 'for="_a,for=10.9.9.9", for=203.0.113.7' }, "203.0.113.7"],
    [
      "a quoted string that the client has left open",
      { forwarded: 'for=198.51.100.1;by=", for="[2001:db8::1]"' },
      "2001:db8::1",
    ],
    [
      "a parameter in a quoted string",
      { forwarded: 'host="a;for=198.51.100.1";for=203.0.113.7' },
      "203.0.113.7",
    ],
    ["an escaped quote", { forwarded: 'by="_\\"a,b";for=203.0.113.7' }, "203.0.113.7"],
    ["no header", {}, undefined],
  ])("%s", async (_, headers, address) => {
    const peer = await proxied(["loopback", "10.0.0.0/8"], headers);
    expect(peer).toMatchObject({ address, certificate: undefined });
    expect(peer?.proxy).toMatchObject({ address: "127.0.0.1", proxy: undefined });
  });

  test.each<[string, Record<string, string>]>([
    ["a quoted string that never ends", { forwarded: `"${'\\"'.repeat(30_000)}` }],
    ["colons", { "x-forwarded-for": `${":".repeat(60_000)}z` }],
    ["spaces", { forwarded: `;${" ".repeat(30_000)};for${" ".repeat(30_000)}` }],
  ])("a header of 60 kB with %s is read quickly", (_, header) => {
    const began = performance.now();
    forwardedFor(new Headers(header));
    // Regular expressions that try each position took 8 s.
    expect(performance.now() - began).toBeLessThan(1000);
  });

  test("a client that is no trusted proxy is not believed", async () => {
    const peer = await proxied(["10.0.0.0/8"], { "x-forwarded-for": "203.0.113.7" });
    expect(peer).toMatchObject({ address: "127.0.0.1", proxy: undefined });
  });

  test('a proxy on a Unix socket is trusted as "unix"', async () => {
    await using file = await temporaryFile("socket");
    const { path } = file;
    for (const trustedProxies of [["unix"], ["loopback"]]) {
      const peers: Peer[] = [];
      await using server = createServer({
        trustedProxies,
        routes: (router) =>
          router.rpc(Greeter.method.sayHello, (_, context) => {
            peers.push(caller(context).peer);
            return {};
          }),
      });
      const { url } = await server.listen({ path });
      await using transport = createTransport({ baseUrl: url });
      const headers = { "x-forwarded-for": "203.0.113.7" };
      await createClient(Greeter, transport).sayHello({}, { headers });
      const isTrusted = trustedProxies.includes("unix");
      expect(peers).toMatchObject([{ address: isTrusted ? "203.0.113.7" : undefined }]);
    }
  });

  test.each([
    ["no array", "10.0.0.1", "trustedProxies is"],
    ["a host name", ["proxy.example"], "trustedProxies[0] is"],
    ["a prefix that is too long", ["10.0.0.1", "10.0.0.0/33"], "trustedProxies[1] is"],
    ["an empty prefix", ["10.0.0.0/"], "trustedProxies[0] is"],
    ["a number", [7], "trustedProxies[0] is"],
  ])("trustedProxies refuses %s", (_, trustedProxies, what) => {
    const routes = () => {};
    expect(() => createServer({ routes, trustedProxies: trustedProxies as string[] })).toThrow(
      what,
    );
  });
});

test("whether the client of a connection is a trusted proxy is found out once, and of others no header is read", () => {
  const asked: (string | undefined)[] = [];
  const has = (address: string | undefined) => {
    asked.push(address);
    return address === "10.0.0.1";
  };
  const callers = new Callers({ authenticator: undefined, admission: undefined, proxies: { has } });
  const peerAt = (address: string): Peer => ({
    ...{ address, isEncrypted: false, certificate: undefined, proxy: undefined },
  });
  const [proxy, client] = [peerAt("10.0.0.1"), peerAt("192.0.2.1")];
  const unread = new Proxy(new Headers(), { get: () => expect.unreachable("a header was read") });
  const { sayHello: method } = Greeter.method;
  for (let n = 0; n < 3; n++) {
    expect([callers.knows(proxy), callers.knows(client)]).toEqual([false, true]);
    expect(callers.callerOf({ header: unread, peer: client, method })).toMatchObject({
      peer: client,
    });
  }
  expect(asked).toEqual(["10.0.0.1", "192.0.2.1"]);
});
