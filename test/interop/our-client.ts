/** Our client against the Go server. */
import { join } from "node:path";
import { Code, type TransportOptions } from "../../src/index.ts";
import { certFile, certs } from "../support/tls.ts";
import { go, startServer } from "./programs.ts";
import { check } from "./report.ts";
import { scenarios } from "./scenarios.ts";
import {
  drain,
  killed,
  noSessions,
  permittedPings,
  retiredConnections,
  type Special,
  special,
  tooManyPings,
} from "./specials.ts";
import { rejects, worldOf } from "./world.ts";

const BASICS = [
  "unary",
  "chat of 5, another loop receives",
  "leading and trailing metadata, ascii and binary",
  "3 MiB messages, all four kinds",
];

const SPECIALS: readonly Special[] = [
  { name: "graceful shutdown (GOAWAY) while a chat runs", run: drain },
  {
    name: "connections retired by age, no call fails",
    flags: ["-max-age", "300ms"],
    run: retiredConnections,
  },
  { name: "it keeps no sessions, and sees nothing of them", run: noSessions },
  { name: "killed while a chat runs", run: killed },
];

const PINGS: readonly Special[] = [
  {
    name: "pings at the shortest interval it permits",
    flags: ["-min-ping", "200ms"],
    run: permittedPings,
    options: { keepalive: { intervalMs: 220 } },
  },
  {
    name: "too_many_pings doubles the interval",
    run: tooManyPings,
    options: { keepalive: { intervalMs: 100 } },
  },
];

/** Runs scenarios with one transport, all by default. */
async function basics(what: string, options: TransportOptions, names?: string[]): Promise<void> {
  await using world = worldOf(options);
  for (const { name, run } of scenarios()) {
    if (names !== undefined && !names.includes(name)) continue;
    await check(`Go server, ${what}: ${name}`, () => run(world));
  }
}

async function secure(): Promise<void> {
  const { ca } = certs;
  const keyPair = ["-cert", certFile("server.pem"), "-key", certFile("server.key")];
  {
    await using server = await startServer(go, ...keyPair);
    const baseUrl = `https://${server.address}`;
    await basics("TLS", { baseUrl, tls: { ca } });
    await check("Go server, TLS: a certificate of another CA is not trusted", async () => {
      await using world = worldOf({ baseUrl, tls: { ca: certs.otherCa } });
      await rejects(world.greeter.sayHello({}), Code.Unavailable);
    });
  }
  await using server = await startServer(go, ...keyPair, "-client-ca", certFile("ca.pem"));
  const baseUrl = `https://${server.address}`;
  await basics("mTLS", { baseUrl, tls: { ca, ...certs.client } }, BASICS);
  for (const [who, tls] of [
    ["without a client certificate", { ca }],
    ["with a certificate of another CA", { ca, ...certs.otherClient }],
  ] as const) {
    await check(`Go server, mTLS: refused ${who}`, async () => {
      await using world = worldOf({ baseUrl, tls });
      await rejects(world.greeter.sayHello({}), Code.Unavailable);
    });
  }
}

export async function oursAgainstGoServer(directory: string): Promise<void> {
  {
    await using server = await startServer(go);
    await basics("cleartext", { baseUrl: `http://${server.address}` });
  }
  {
    const path = join(directory, "go.sock");
    await using _server = await startServer(go, "-listen", `unix:${path}`);
    await basics("Unix socket", { baseUrl: `unix:${path}` }, BASICS);
  }
  await secure();
  for (const one of SPECIALS) await special(go, one);
}

/** What mostly waits. */
export async function goServerPings(): Promise<void> {
  await Promise.all(PINGS.map((one) => special(go, one)));
}
