/** The Go client against our server. */
import { join } from "node:path";
import { certs } from "../support/tls.ts";
import { go } from "./programs.ts";
import { against, CA, CLIENT_CERT, OTHER_CERT } from "./their-client.ts";

const BASICS = [
  "unary",
  "chat of 5, one goroutine receives",
  "leading and trailing metadata, ascii and binary",
  "3 MiB messages, all four kinds",
];

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
    { scenarios: BASICS },
  );
  await against([go, "TLS"], { tls }, { flags: CA });
  await against(
    [go, "mTLS"],
    { tls: { ...tls, ca: certs.ca } },
    { flags: [...CA, ...CLIENT_CERT], scenarios: BASICS },
    { flags: CA, scenarios: ["refused without a client certificate"] },
    { flags: [...CA, ...OTHER_CERT], scenarios: ["refused with a certificate of another CA"] },
  );
}
