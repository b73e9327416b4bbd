import { X509Certificate } from "node:crypto";
import { Code, ConnectError } from "hawser";
import type { Server } from "hawser/server";
import { aboutPem, readPem } from "../terminal/input.ts";
import { printNote } from "../terminal/output.ts";
import { programLine } from "../terminal/program.ts";
import { describe } from "../terminal/report.ts";

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

/** Reads the files again at each SIGHUP: `kill -HUP` after a certificate was renewed. If they are not valid, the old ones stay. */
export function replaceTlsOnHangup(
  server: Server,
  files: TlsFiles,
  { json }: { readonly json: boolean },
): void {
  process.on("SIGHUP", async () => {
    try {
      const tls = await readTls(files);
      if (tls === undefined) return;
      const { cert, key, ca } = tls;
      server.setTls(ca === undefined ? { cert, key } : { cert, key, ca });
      if (!json) printNote(programLine("new connections get the new certificate"));
    } catch (error) {
      const remedy = "the old certificate stays";
      process.stderr.write(describe(ofFiles(error, files), { json, remedy }));
    }
  });
}

/** Returns the error of a PEM text with the flag and the file that it came from. */
export function ofFiles(error: unknown, { tlsCa, tlsCert, tlsKey }: TlsFiles): unknown {
  return aboutPem(error, {
    ca: `--tls-ca ${tlsCa}`,
    cert: `--tls-cert ${tlsCert}`,
    key: `--tls-key ${tlsKey}`,
  });
}

/** Whether a certificate is self-signed: a client must then trust the certificate itself. */
export function selfSigned(pem: string): boolean {
  const certificate = new X509Certificate(pem);
  return certificate.checkIssued(certificate);
}
