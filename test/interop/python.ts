/** grpcio: its client against our server, and our client against its server. */
import assert from "node:assert/strict";
import { certFile, certs } from "../support/tls.ts";
import { python, startServer } from "./programs.ts";
import { check } from "./report.ts";
import { scenarios } from "./scenarios.ts";
import {
  answersPings,
  drainOfPython,
  gzipBothWays,
  killed,
  limitedStreams,
  noSessions,
  onServer,
  permittedPings,
  retiredConnections,
  type Special,
  special,
  tooManyPings,
} from "./specials.ts";
import { against, CA, CLIENT_CERT, OTHER_CERT } from "./their-client.ts";
import { type Capabilities, worldOf } from "./world.ts";

/** Python's server does not report sizes, and counts deadlines in 64 bits. */
const capabilities: Capabilities = { gzipResponses: true, wire: false, longDeadlines: true };

export async function pythonAgainstOurs(): Promise<void> {
  const tls = { ...certs.server };
  await against([python, "cleartext"], {}, {});
  await against(
    [python, "mTLS"],
    { tls: { ...tls, ca: certs.ca } },
    { flags: [...CA, ...CLIENT_CERT] },
    { flags: CA, scenarios: ["refused without a client certificate"] },
    { flags: [...CA, ...OTHER_CERT], scenarios: ["refused with a certificate of another CA"] },
  );
  await against(
    [python, "a server that compresses"],
    { sendCompression: "gzip" },
    {
      scenarios: ["gzip requests"],
      passed: ({ up, down }) => {
        assert(up.bytes < 20_000, `${up.bytes} B of requests, which are 360,000 B in plain`);
        assert(down.bytes < 20_000, `${down.bytes} B of replies, which are 360,000 B in plain`);
      },
    },
  );
  await against(
    [python, "a server that shuts down"],
    {},
    { scenarios: ["graceful shutdown while a chat runs"] },
  );
}

/** They need a transport of their own, but no server. */
const WITH_ANY: readonly Special[] = [
  { name: "it keeps no sessions, and sees nothing of them", run: noSessions },
  { name: "gzip both ways is smaller on the wire", run: gzipBothWays },
];

const SPECIALS: readonly Special[] = [
  { name: "graceful shutdown (GOAWAY) while a chat runs", run: drainOfPython },
  {
    name: "connections retired by age, no call fails",
    flags: ["-max-age", "300"],
    run: retiredConnections,
  },
  { name: "killed while a chat runs", run: killed },
  {
    name: "1,500 calls, 100 streams a connection",
    flags: ["-max-streams", "100"],
    run: limitedStreams,
  },
];

const PINGS: readonly Special[] = [
  {
    name: "pings at the shortest interval it permits",
    flags: ["-min-ping", "200"],
    run: permittedPings,
    options: { keepalive: { intervalMs: 220 } },
  },
  {
    name: "too_many_pings doubles the interval",
    run: tooManyPings,
    options: { keepalive: { intervalMs: 100 } },
  },
  { name: "its pings are answered", flags: ["-ping", "200"], run: answersPings },
];

export async function oursAgainstPython(): Promise<void> {
  {
    await using server = await startServer(python);
    await all("cleartext", { baseUrl: `http://${server.address}` });
    for (const one of WITH_ANY) {
      await check(`Python server, cleartext: ${one.name}`, () => onServer(server, one));
    }
  }
  const keyPair = ["-cert", certFile("server.pem"), "-key", certFile("server.key")];
  {
    await using server = await startServer(python, ...keyPair, "-client-ca", certFile("ca.pem"));
    await all("mTLS", {
      baseUrl: `https://${server.address}`,
      tls: { ca: certs.ca, ...certs.client },
    });
  }
  for (const one of SPECIALS) await special(python, one);
}

async function all(what: string, options: Parameters<typeof worldOf>[0]): Promise<void> {
  await using world = worldOf(options);
  for (const { name, run, needs } of scenarios()) {
    if (needs !== undefined && !capabilities[needs]) continue;
    await check(`Python server, ${what}: ${name}`, () => run(world));
  }
}

/** What mostly waits. */
export async function pythonPings(): Promise<void> {
  await Promise.all([
    against(
      [python, "a server that pings"],
      { keepalive: { intervalMs: 200, timeoutMs: 1000 } },
      {
        scenarios: ["a chat that is silent for 2 s"],
        passed: ({ up, down }) => {
          assert(down.pings >= 5, `only ${down.pings} pings in 2 s`);
          assert(up.answers >= 5, `only ${up.answers} answers to ${down.pings} pings`);
        },
      },
    ),
    against(
      [python, "pings every 6 s"],
      {},
      {
        flags: ["-ping", "6000"],
        scenarios: ["a chat that is silent for 12.5 s"],
        passed: ({ up, down }) => {
          assert(up.pings >= 2, `only ${up.pings} pings in 12.5 s`);
          assert(down.answers >= 2, `only ${down.answers} answers to ${up.pings} pings`);
        },
      },
    ),
    ...PINGS.map((one) => special(python, one)),
  ]);
}
