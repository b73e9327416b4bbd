/** The certificates of the rows over TLS: those of the tests. */
import { readFileSync } from "node:fs";
import { certFile } from "../test/support/tls.ts";

/** The file of the authority that signed the server's certificate. */
export const authorityFile = certFile("ca.pem");

/** The arguments of a server program that serves over TLS: the files of its certificate and of its key. */
export const tlsArguments: readonly string[] = [certFile("server.pem"), certFile("server.key")];

/** Returns the certificate and the key of this program, a server in Node; `undefined` if it serves without TLS. */
export function ownCertificate(): { cert: Buffer; key: Buffer } | undefined {
  const [, , cert, key] = process.argv;
  if (cert === undefined || key === undefined) return undefined;
  return { cert: readFileSync(cert), key: readFileSync(key) };
}
