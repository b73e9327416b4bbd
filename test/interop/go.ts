/** grpc-go: its client against our server, and our client against its server. */
import { join } from "node:path";
import { Code } from "../../src/index.ts";
import { certFile, certs } from "../support/tls.ts";
import { pingsOf, runScenarios, specialsOf } from "./our-client.ts";
import { go, startServer } from "./programs.ts";
import { check } from "./report.ts";
import type { ServerFeatures } from "./specials.ts";
import { against, CA, CLIENT_CERT, OTHER_CERT } from "./their-client.ts";
import { EVERYTHING, rejects, worldOf } from "./world.ts";

const SHARED_BASICS = [
  "unary",
  "leading and trailing metadata, ascii and binary",
  "3 MiB messages, all four kinds",
];

/** The scenarios with a Unix socket and mTLS: of their client, and of ours. */
const THEIR_BASICS = [...SHARED_BASICS, "chat of 5, one goroutine receives"];
const OUR_BASICS = [...SHARED_BASICS, "chat of 5, another loop receives"];

/** It sends no pings more often than once a second, and serves what has arrived when it shuts down. */
const features: ServerFeatures = { frequentPings: false, cancelsAtShutdown: false };

export async function goClientAgainstOurs(directory: string): Promise<void> {
  const tls = certs.server;
  await against([go, "cleartext"], {}, {});
  await against(
    [go, "a server that compresses"],
    { sendCompression: "gzip" },
    { scenarios: ["gzip responses", "3 MiB messages, all four kinds"] },
  );
  await against(
    [go, "a server that shuts down"],
    {},
    { scenarios: ["graceful shutdown while a chat runs"] },
  );
  await against(
    [go, "Unix socket"],
    { path: join(directory, "hawser.sock") },
    { scenarios: THEIR_BASICS },
  );
  await against([go, "TLS"], { tls }, { flags: CA });
  await against(
    [go, "mTLS"],
    { tls: { ...tls, ca: certs.ca } },
    { flags: [...CA, ...CLIENT_CERT], scenarios: THEIR_BASICS },
    { flags: CA, scenarios: ["refused without a client certificate"] },
    { flags: [...CA, ...OTHER_CERT], scenarios: ["refused with a certificate of another CA"] },
  );
}

export async function oursAgainstGoServer(directory: string): Promise<void> {
  {
    await using server = await startServer(go);
    await using world = worldOf({ baseUrl: `http://${server.address}` });
    await runScenarios("Go server, cleartext", world, EVERYTHING);
  }
  {
    const path = join(directory, "go.sock");
    await using _server = await startServer(go, "-listen", `unix:${path}`);
    await using world = worldOf({ baseUrl: `unix:${path}` });
    await runScenarios("Go server, Unix socket", world, EVERYTHING, isBasic);
  }
  await secure();
  await specialsOf(go, features);
}

const isBasic = (name: string) => OUR_BASICS.includes(name);

async function secure(): Promise<void> {
  const { ca } = certs;
  const keyPair = ["-cert", certFile("server.pem"), "-key", certFile("server.key")];
  {
    await using server = await startServer(go, ...keyPair);
    const baseUrl = `https://${server.address}`;
    await using world = worldOf({ baseUrl, tls: { ca } });
    await runScenarios("Go server, TLS", world, EVERYTHING);
    await check("Go server, TLS: a certificate of another CA is not trusted", async () => {
      await using other = world.another({ tls: { ca: certs.otherCa } });
      await rejects(other.greeter.sayHello({}), Code.Unavailable);
    });
  }
  await using server = await startServer(go, ...keyPair, "-client-ca", certFile("ca.pem"));
  await using world = worldOf({
    baseUrl: `https://${server.address}`,
    tls: { ca, ...certs.client },
  });
  await runScenarios("Go server, mTLS", world, EVERYTHING, isBasic);
  for (const [who, tls] of [
    ["without a client certificate", { ca }],
    ["with a certificate of another CA", { ca, ...certs.otherClient }],
  ] as const) {
    await check(`Go server, mTLS: refused ${who}`, async () => {
      await using other = world.another({ tls });
      await rejects(other.greeter.sayHello({}), Code.Unavailable);
    });
  }
}

/** What mostly waits. */
export async function goServerPings(): Promise<void> {
  await pingsOf(go, features);
}
