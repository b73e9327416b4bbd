/** grpcio: its client against our server, and our client against its server. */
import assert from "node:assert/strict";
import { certFile, certs } from "../support/tls.ts";
import { pingsOf, runScenarios, specialsOf } from "./our-client.ts";
import { python, startServer } from "./programs.ts";
import type { ServerFeatures } from "./specials.ts";
import { against, CA, CLIENT_CERT, OTHER_CERT } from "./their-client.ts";
import { type Capabilities, EVERYTHING, worldOf } from "./world.ts";

/** Python's server does not report the sizes of messages. */
const capabilities: Capabilities = { ...EVERYTHING, wire: false };

const features: ServerFeatures = { frequentPings: true, cancelsAtShutdown: true };

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

export async function oursAgainstPython(): Promise<void> {
  {
    await using server = await startServer(python);
    await using world = worldOf({ baseUrl: `http://${server.address}` });
    await runScenarios("Python server, cleartext", world, capabilities);
  }
  {
    const keyPair = ["-cert", certFile("server.pem"), "-key", certFile("server.key")];
    await using server = await startServer(python, ...keyPair, "-client-ca", certFile("ca.pem"));
    const tls = { ca: certs.ca, ...certs.client };
    await using world = worldOf({ baseUrl: `https://${server.address}`, tls });
    await runScenarios("Python server, mTLS", world, capabilities);
  }
  await specialsOf(python, features);
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
    pingsOf(python, features),
  ]);
}

/** Its pings come every 6 s: it may run beside whatever keeps the machine busy. */
export async function longSilenceOfPython(): Promise<void> {
  await against(
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
  );
}
