import { once } from "node:events";
import { createServer as createTcpServer } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  type ClientTls,
  Code,
  createClient,
  createTransport,
  type TransportOptions,
} from "../src/index.ts";
import { createServer, type ServerCertificate, type TlsOptions } from "../src/server.ts";
import { failureOf } from "./support/read.ts";
import { certFile, certs } from "./support/tls.ts";
import { start } from "./support/world.ts";

const url = "https://127.0.0.1:1";
const begin = (tls: object) => createTransport({ baseUrl: url, tls: tls as ClientTls });
const serve = (tls: object) => createServer({ routes() {}, tls: tls as TlsOptions });
const { cert, key } = certs.server;

/** The error text of a call that cannot be made with such a transport. */
async function refusal(options: TransportOptions): Promise<string> {
  await using transport = createTransport(options);
  const error = await failureOf(createClient(Greeter, transport).sayHello({}));
  expect(error.code).toBe(Code.Unavailable);
  return error.rawMessage;
}

/** A listening server of node:net or node:tls, until disposed. */
async function listening(server: ReturnType<typeof createTcpServer>) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

test.each(["http://127.0.0.1:1", "unix:/tmp/x.sock"])(
  "`tls` with a baseUrl of %s, which has no TLS, is refused",
  (baseUrl) => {
    expect(() => createTransport({ baseUrl, tls: { ca: certs.ca } })).toThrow(
      expect.objectContaining({
        code: Code.InvalidArgument,
        rawMessage: `createTransport: tls is for https://, and baseUrl "${baseUrl}" has no TLS: use https://, or leave tls out`,
      }),
    );
  },
);

test.each<[string, () => unknown]>([
  [
    "createTransport: tls.ca is not a PEM text; is it a path?",
    () => begin({ ca: certFile("ca.pem") }),
  ],
  [
    "createTransport: tls.ca[1] is not a PEM text; is it a path?",
    () => begin({ ca: [certs.ca, "other-ca.pem"] }),
  ],
  [
    "createTransport: tls.cert is not a PEM text; is it a path?",
    () => begin({ cert: "./client.pem", key }),
  ],
  [
    "createTransport: tls.key is not a PEM text; is it a path?",
    () => begin({ cert, key: Buffer.from([1, 2, 3]) }),
  ],
  ["createTransport: tls.key is not a PEM text; is it a path?", () => begin({ cert, key: "" })],
  [
    "createTransport: tls.ca is an object: a PEM text, as a string or Buffer, is needed",
    () => begin({ ca: {} }),
  ],
  [
    "createTransport: tls.cert has no certificate in it, but PRIVATE KEY: are two files mixed up?",
    () => begin({ cert: key, key: cert }),
  ],
  [
    "createTransport: tls.key is encrypted: give it decrypted",
    () => begin({ cert, key: "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" }),
  ],
  ["createTransport: tls.cert is given without tls.key: give both, or none", () => begin({ cert })],
  ["createTransport: tls.key is given without tls.cert: give both, or none", () => begin({ key })],
  [
    "createTransport: tls.key does not belong to tls.cert",
    () => begin({ cert, key: certs.client.key }),
  ],
  [
    "createTransport: tls.ca is damaged: node:tls cannot read it (",
    () => begin({ ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }),
  ],
  [
    "createTransport: tls.cert is damaged: node:tls cannot read it (",
    () => begin({ cert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key }),
  ],
  ["createServer: tls.cert is missing: a PEM text", () => serve({ key })],
  ["createServer: tls.key is missing: a PEM text", () => serve({ cert })],
  [
    "createServer: tls.cert is not a PEM text; is it a path?",
    () => serve({ cert: certFile("server.pem"), key }),
  ],
  [
    "createServer: tls.ca is not a PEM text; is it a path?",
    () => serve({ cert, key, ca: certFile("ca.pem") }),
  ],
  [
    "createServer: tls.key does not belong to tls.cert",
    () => serve({ cert, key: certs.client.key }),
  ],
  [
    "createServer: tls.requestClientCertificate is 1: true or false",
    () => serve({ cert, key, requestClientCertificate: 1 }),
  ],
])("%s", (text, make) => {
  expect(make).toThrow(
    expect.objectContaining({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining(text),
    }),
  );
});

test("PEM texts may be buffers, and several authorities a list", async () => {
  const ca = [certs.otherCa, Buffer.from(certs.ca)];
  await using world = await start({
    server: { tls: { cert: Buffer.from(cert), key: Buffer.from(key) } },
    transport: { tls: { ca } },
  });
  expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
});

describe("the error of a call to a server that asks for a client certificate", () => {
  const mutual = { server: { tls: { cert, key, ca: certs.ca } } };

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "the error names tls.cert and tls.key if the client has no certificate, by %s",
    async (version) => {
      const server = createTlsServer({
        ...{ cert, key, ca: certs.ca, requestCert: true, rejectUnauthorized: true },
        ...{ ALPNProtocols: ["h2"], minVersion: version, maxVersion: version },
      });
      server.on("tlsClientError", () => {});
      await using there = await listening(server);
      const baseUrl = `https://127.0.0.1:${there.port}`;
      const text = await refusal({ baseUrl, tls: { ca: certs.ca } });
      expect(text).toContain(
        "does it ask for a client certificate? Give one with tls.cert and tls.key",
      );
      expect(text).not.toContain("not trusted");
    },
  );

  test("the error names tls.cert and tls.key also for a Hawser server, which serves a client with a trusted certificate", async () => {
    await using world = await start({
      ...mutual,
      transport: { tls: { ca: certs.ca, ...certs.client } },
    });
    const text = await refusal({ baseUrl: world.url, tls: { ca: certs.ca } });
    expect(text).toContain(
      "does it ask for a client certificate? Give one with tls.cert and tls.key",
    );
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  });

  test("the error asks for the authority of the client's certificate if the server does not trust that certificate", async () => {
    await using world = await start({
      ...mutual,
      transport: { tls: { ca: certs.ca, ...certs.client } },
    });
    const text = await refusal({ baseUrl: world.url, tls: { ca: certs.ca, ...certs.otherClient } });
    expect(text).toContain("does it trust the CA of the client's certificate (tls.cert)?");
    await world.greeter.sayHello({});
  });
});

describe("the error of a call to a server whose certificate is refused", () => {
  const secure = { server: { tls: { cert, key } }, transport: { tls: { ca: certs.ca } } };

  test("the error names tls.ca if the server's certificate is not trusted", async () => {
    await using world = await start(secure);
    const text = await refusal({ baseUrl: world.url, tls: { ca: certs.otherCa } });
    expect(text).toMatch(
      /\(\w+\): its certificate is not trusted; give the CA that signed it as tls\.ca$/,
    );
    await world.greeter.sayHello({});
  });

  test("the error names tls.serverName if the server's certificate has another name", async () => {
    await using world = await start(secure);
    const tls = { ca: certs.ca, serverName: "elsewhere.example" };
    expect(await refusal({ baseUrl: world.url, tls })).toMatch(/tls\.serverName/);
    await world.greeter.sayHello({});
  });
});

describe("the error of a call whose baseUrl has the wrong scheme", () => {
  test("the error hints at https:// for a port with TLS", async () => {
    await using world = await start({
      server: { tls: { cert, key } },
      transport: { tls: { ca: certs.ca } },
    });
    const text = await refusal({ baseUrl: world.url.replace("https", "http") });
    expect(text).toContain("does it speak TLS? Then use https://");
    await world.greeter.sayHello({});
  });

  test("the error hints at https:// for a server that answers with a TLS alert", async () => {
    const alert = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46]);
    const server = createTcpServer(
      (socket) =>
        void socket
          .on("error", () => {})
          .resume()
          .end(alert),
    );
    await using there = await listening(server);
    const text = await refusal({ baseUrl: `http://127.0.0.1:${there.port}` });
    expect(text).toContain("does it speak TLS? Then use https://");
  });

  test("the error hints at http:// for a cleartext port", async () => {
    await using world = await start();
    const baseUrl = world.url.replace("http", "https");
    expect(await refusal({ baseUrl })).toContain("does it speak cleartext? Then use http://");
    expect(await refusal({ baseUrl, tls: { ca: certs.ca } })).toContain("use http://");
    await world.greeter.sayHello({});
  });

  test("the error mentions http:// for a port that closes", async () => {
    await using there = await listening(createTcpServer((socket) => void socket.resume().end()));
    const text = await refusal({ baseUrl: `https://127.0.0.1:${there.port}` });
    expect(text).toContain("For cleartext use http://");
  });

  test("the error names neither scheme if no server listens on the port", async () => {
    expect(await refusal({ baseUrl: "http://127.0.0.1:1" })).not.toMatch(/https?:\/\//);
    expect(await refusal({ baseUrl: "https://127.0.0.1:1" })).not.toMatch(/https?:\/\//);
  });
});

describe("setTls", () => {
  /** The name in the certificate that a new connection is shown. */
  async function shownBy(url: string): Promise<unknown> {
    const { hostname: host, port } = new URL(url);
    const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false });
    await once(socket, "secureConnect");
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return subject.CN;
  }

  test("new connections are shown the new certificate, and open ones continue", async () => {
    await using world = await start({
      server: { tls: certs.server },
      transport: { tls: { ca: certs.ca } },
    });
    expect(await shownBy(world.url)).toBe("localhost");
    await world.greeter.sayHello({});
    world.server.setTls(certs.otherClient);
    expect(await shownBy(world.url)).toBe("stranger");
    await world.greeter.sayHello({});
    world.server.setTls(certs.server);
    expect(await shownBy(world.url)).toBe("localhost");
  });

  test("clients are asked for certificates of the new authority", async () => {
    await using world = await start({
      server: { tls: { ...certs.server, ca: certs.otherCa } },
      transport: { tls: { ca: certs.ca, ...certs.client } },
    });
    expect(await failureOf(world.greeter.sayHello({}))).toMatchObject({ code: Code.Unavailable });
    world.server.setTls({ ...certs.server, ca: certs.ca });
    await world.greeter.sayHello({});
  });

  test.each<[string, object]>([
    ["setTls: tls.key does not belong to tls.cert", { ...certs.server, key: certs.client.key }],
    ["setTls: tls.cert is not a PEM text; is it a path?", { ...certs.server, cert: "x" }],
    ["setTls: tls.key is missing", { cert }],
    ["without tls.ca, and this is with: make another server", { ...certs.server, ca: certs.ca }],
    ["setTls: tls has no option `sni`", { ...certs.server, sni: "x" }],
  ])("%s, and the old certificate stays", async (what, tls) => {
    await using world = await start({
      server: { tls: certs.server },
      transport: { tls: { ca: certs.ca } },
    });
    expect(() => world.server.setTls(tls as ServerCertificate)).toThrow(what);
    expect(await shownBy(world.url)).toBe("localhost");
    await world.greeter.sayHello({});
  });

  test("a server without TLS cannot have a certificate later", async () => {
    await using world = await start();
    expect(() => world.server.setTls(certs.server)).toThrow("this server was made without tls");
  });
});
