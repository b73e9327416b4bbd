/** The Go client against our server. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createServer, type ServerOptions } from "../../src/server.ts";
import { certFile, certs } from "../support/tls.ts";
import { switchedGreeter } from "./greeter.ts";
import { runClient } from "./programs.ts";
import { check, fail, pass } from "./report.ts";

const BASICS = [
  "unary",
  "chat of 5, one goroutine receives",
  "leading and trailing metadata, ascii and binary",
  "3 MiB messages, all four kinds",
];

const CA = ["-ca", certFile("ca.pem")];
const CLIENT_CERT = ["-cert", certFile("client.pem"), "-key", certFile("client.key")];
const OTHER_CERT = ["-cert", certFile("other-client.pem"), "-key", certFile("other-client.key")];

interface Run {
  /** Arguments of the client, and its scenarios; all that need no special server by default. */
  flags?: string[];
  scenarios?: string[];
}

/** Starts a server of ours, runs Go clients against it one after another, and closes it. */
async function against(
  what: string,
  options: Partial<ServerOptions> & { path?: string },
  ...runs: Run[]
): Promise<void> {
  const { path, ...serverOptions } = options;
  const server = createServer({
    routes: (router) =>
      router.service(
        Greeter,
        switchedGreeter(() => void server.close()),
      ),
    ...serverOptions,
  });
  const address = await server.listen(path === undefined ? { port: 0 } : { path });
  const target = path === undefined ? `${address.host}:${address.port}` : `unix:${path}`;
  for (const { flags = [], scenarios = [] } of runs) {
    let passes = 0;
    let failures = 0;
    const code = await runClient(["-target", target, ...flags], scenarios, (line) => {
      const [, verdict, name, reason] = /^(PASS|FAIL) ([^:]+)(?:: (.*))?$/.exec(line) ?? [];
      if (verdict === "PASS") {
        passes++;
        pass(`Go client, ${what}: ${name}`);
      } else {
        failures++;
        fail(`Go client, ${what}: ${name ?? "it says"}`, reason ?? line);
      }
    });
    if (failures === 0 && (code !== 0 || passes === 0)) {
      fail(`Go client, ${what}`, `it exited with ${code} after ${passes} scenarios`);
    }
  }
  await check(`Go client, ${what}: the server closes, nothing is left open`, async () => {
    assert.equal(server.openCalls, 0);
    const start = performance.now();
    await server.close();
    assert(performance.now() - start < 2000, "it had to wait for the end of a call");
  });
}

export async function goClientAgainstOurs(directory: string): Promise<void> {
  const tls = certs.server;
  await against("cleartext", {}, {});
  await against(
    "a server that compresses",
    { sendCompression: "gzip" },
    { scenarios: ["gzip responses", "3 MiB messages, all four kinds"] },
  );
  await against(
    "a server that shuts down",
    {},
    { scenarios: ["graceful shutdown while a chat runs"] },
  );
  await against("Unix socket", { path: join(directory, "hawser.sock") }, { scenarios: BASICS });
  await against("TLS", { tls }, { flags: CA, scenarios: BASICS });
  await against(
    "mTLS",
    { tls: { ...tls, ca: certs.ca } },
    { flags: [...CA, ...CLIENT_CERT], scenarios: BASICS },
    { flags: CA, scenarios: ["refused without a client certificate"] },
    { flags: [...CA, ...OTHER_CERT], scenarios: ["refused with a certificate of a stranger"] },
  );
}
