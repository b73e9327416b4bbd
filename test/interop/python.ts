/** grpcio: its client against our server, and our client against its server. */
import { certFile, certs } from "../support/tls.ts";
import { python, startServer } from "./programs.ts";
import { check } from "./report.ts";
import { scenarios } from "./scenarios.ts";
import { against, CA, CLIENT_CERT } from "./their-client.ts";
import { type Capabilities, worldOf } from "./world.ts";

/** Python's server compresses all messages or none, does not report sizes, and counts deadlines in 64 bits. */
const capabilities: Capabilities = { gzipResponses: false, wire: false, longDeadlines: true };

export async function pythonAgainstOurs(): Promise<void> {
  const tls = { ...certs.server };
  await against([python, "cleartext"], {}, {});
  await against(
    [python, "mTLS"],
    { tls: { ...tls, ca: certs.ca } },
    { flags: [...CA, ...CLIENT_CERT] },
  );
}

export async function oursAgainstPython(): Promise<void> {
  {
    await using server = await startServer(python);
    await all("cleartext", { baseUrl: `http://${server.address}` });
  }
  const keyPair = ["-cert", certFile("server.pem"), "-key", certFile("server.key")];
  await using server = await startServer(python, ...keyPair, "-client-ca", certFile("ca.pem"));
  await all("mTLS", {
    baseUrl: `https://${server.address}`,
    tls: { ca: certs.ca, ...certs.client },
  });
}

async function all(what: string, options: Parameters<typeof worldOf>[0]): Promise<void> {
  await using world = worldOf(options);
  for (const { name, run, needs } of scenarios()) {
    if (needs !== undefined && !capabilities[needs]) continue;
    await check(`Python server, ${what}: ${name}`, () => run(world));
  }
}
