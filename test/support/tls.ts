import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The path of a certificate, for programs that read a file. */
export function certFile(name: string): string {
  return fileURLToPath(new URL(`./certs/${name}`, import.meta.url));
}

function pem(name: string): string {
  return readFileSync(certFile(name), "utf8");
}

function pair(name: string): { cert: string; key: string } {
  return { cert: pem(`${name}.pem`), key: pem(`${name}.key`) };
}

/**
 * PEM texts for tests over TLS. `server` is for localhost, 127.0.0.1 and ::1;
 * it and `client` are signed by `ca`, `otherClient` by `otherCa`.
 * Valid for a hundred years; certs/make.sh makes them anew.
 */
export const certs = {
  ca: pem("ca.pem"),
  server: pair("server"),
  client: pair("client"),
  otherCa: pem("other-ca.pem"),
  otherClient: pair("other-client"),
};
