import { X509Certificate } from "node:crypto";
import { Code, ConnectError } from "hawser";
import { readPem } from "../terminal/input.ts";

/** The `tls` of createServer, from files. */
export interface ServerTls {
  cert: string;
  key: string;
  ca?: string | undefined;
  requestClientCertificate: boolean;
}

/** The files that --tls-cert, --tls-key and --tls-ca name. */
export interface TlsFiles {
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsCa: string | undefined;
}

/** Reads these files. Returns `undefined` if no file is named. */
export async function readTls({
  tlsCert,
  tlsKey,
  tlsCa,
}: TlsFiles): Promise<ServerTls | undefined> {
  const cert = await readPem(tlsCert);
  const key = await readPem(tlsKey);
  const ca = await readPem(tlsCa);
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    throw new ConnectError(
      "TLS needs a certificate and its key: give --tls-cert and --tls-key",
      Code.InvalidArgument,
    );
  }
  return { cert, key, ca, requestClientCertificate: ca !== undefined };
}

/** Whether a certificate is self-signed: a client must then trust the certificate itself. */
export function selfSigned(pem: string): boolean {
  const certificate = new X509Certificate(pem);
  return certificate.checkIssued(certificate);
}
