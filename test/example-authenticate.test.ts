import { copyFile, writeFile } from "node:fs/promises";
import { exportSPKI, generateKeyPair, SignJWT } from "jose";
import { describe, expect, test, vi } from "vitest";
import { authenticateByJwt } from "../examples/authenticate/jwt.ts";
import { Code } from "../src/index.ts";
import { caller } from "../src/server.ts";
import { example, startExampleServer } from "./support/program.ts";
import { failureOf } from "./support/read.ts";
import { temporaryFile } from "./support/temporary.ts";
import { certFile } from "./support/tls.ts";
import { start } from "./support/world.ts";

// Some tests start programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

const { publicKey, privateKey } = await generateKeyPair("ES256");
const key = await exportSPKI(publicKey);

/** A token of "ada"; the claims that a test changes. */
async function token({ sub = "ada", exp = "1h", by = privateKey, issuer = "us" } = {}) {
  const made = new SignJWT().setProtectedHeader({ alg: "ES256" }).setIssuer(issuer);
  if (sub !== "") made.setSubject(sub);
  if (exp !== "") made.setExpirationTime(exp);
  return await made.sign(by);
}

const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

function world(options: Parameters<typeof authenticateByJwt>[0]) {
  return start({
    server: { authenticate: authenticateByJwt(options) },
    greeter: { sayHello: (_, context) => ({ reply: String(caller(context).identity) }) },
  });
}

describe("authenticateByJwt", () => {
  test("the caller is the subject of its token", async () => {
    await using there = await world({ key, issuer: "us" });
    for (const exp of ["1h", ""]) {
      const { reply } = await there.greeter.sayHello({}, as(await token({ exp })));
      expect(reply).toBe("ada");
    }
  });

  test.each<[string, () => Promise<string>, string]>([
    ["a token that has expired", () => token({ exp: "-1s" }), "the token has expired"],
    ["a token of another issuer", () => token({ issuer: "them" }), 'unexpected "iss" claim value'],
    ["a token without a subject", () => token({ sub: "" }), "the token has no subject (sub)"],
    [
      "a token with another key",
      async () => token({ by: (await generateKeyPair("ES256")).privateKey }),
      "the token is not valid",
    ],
    ["no token", async () => "x.y", "the token is not valid"],
    ["another scheme", async () => "", "this server needs authorization: Bearer TOKEN"],
  ])("%s is refused", async (_, make, why) => {
    await using there = await world({ key, issuer: "us" });
    const error = await failureOf(there.greeter.sayHello({}, as(await make())));
    expect(error).toMatchObject({ code: Code.Unauthenticated, rawMessage: why });
    expect(there.logged).toEqual([]);
  });

  test("a token is verified once", async () => {
    let verified = 0;
    const count = () => {
      verified++;
      return publicKey;
    };
    await using there = await world({ key: count });
    const mine = as(await token());
    for (let call = 0; call < 3; call++) await there.greeter.sayHello({}, mine);
    expect(verified).toBe(1);
    await there.greeter.sayHello({}, as(await token({ sub: "bob" })));
    expect(verified).toBe(2);
  });

  test("keys that cannot be had are not the caller's fault", async () => {
    const unreachable = () => Promise.reject(new TypeError("fetch failed"));
    await using there = await world({ key: unreachable });
    const error = await failureOf(there.greeter.sayHello({}, as(await token())));
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(error.rawMessage).toBe("tokens cannot be verified now");
  });
});

test("the example server with --jwt-key serves clients with --token", async () => {
  await using pem = await temporaryFile("key.pem");
  await writeFile(pem.path, key);
  await using mine = await temporaryFile("token");
  await writeFile(mine.path, `${await token()}\n`);
  await using server = await startExampleServer("--jwt-key", pem.path);
  await using known = example("greeter", "hello", "--url", server.url, "--token", mine.path);
  expect(await known.ended).toBe(0);
  expect(known.stdout).toBe("Server says: Hello, world\n");

  await using stranger = example("greeter", "hello", "--url", server.url);
  expect(await stranger.ended).toBe(1);
  expect(stranger.stderr).toBe(
    "greeter: unauthenticated: this server needs authorization: Bearer TOKEN: give the server a token with --token\n",
  );

  await using wrong = example("server", "--log", "memory", "--jwt-key", mine.path);
  expect(await wrong.ended).toBe(1);
  expect(wrong.stderr).toMatch(
    /^server: invalid_argument: --jwt-key \S+ is no public key as PEM\n$/,
  );
});

test("SIGHUP has the example server read its certificate again", async () => {
  await using cert = await temporaryFile("cert.pem");
  await using keyFile = await temporaryFile("key.pem");
  await copyFile(certFile("server.pem"), cert.path);
  await copyFile(certFile("server.key"), keyFile.path);
  await using server = await startExampleServer("--tls-cert", cert.path, "--tls-key", keyFile.path);
  await copyFile(certFile("client.key"), keyFile.path);
  server.kill("SIGHUP");
  await server.complains(
    /--tls-key \S+ does not belong to --tls-cert \S+: .*the old certificate stays\n$/,
  );
  await copyFile(certFile("server.key"), keyFile.path);
  server.kill("SIGHUP");
  await server.complains(/new connections get the new certificate\n$/);
  const ca = certFile("ca.pem");
  await using client = example("greeter", "hello", "--url", server.url, "--ca", ca);
  expect(await client.ended).toBe(0);
});
