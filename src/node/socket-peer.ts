import type * as net from "node:net";
import { TLSSocket } from "node:tls";
import { type Peer, type PeerCertificate, unmapped } from "../caller.ts";

/** Returns what a socket shows of its client, when its TLS handshake has ended. */
export function peerOf(socket: net.Socket): Peer {
  const tls = socket instanceof TLSSocket ? socket : undefined;
  return {
    address: socket.remoteAddress && unmapped(socket.remoteAddress),
    isEncrypted: tls !== undefined,
    certificate: tls === undefined ? undefined : certificateOf(tls),
    proxy: undefined,
  };
}

/** Returns the client of a connection that node:net has closed because of `maxConnections`. */
export function peerOfDropped(dropped: net.DropArgument | undefined): Peer {
  const { remoteAddress } = dropped ?? {};
  const address = remoteAddress && unmapped(remoteAddress);
  return { address, isEncrypted: false, certificate: undefined, proxy: undefined };
}

function certificateOf(socket: TLSSocket): PeerCertificate | undefined {
  const certificate = socket.getPeerCertificate();
  // Without a certificate it is an object without properties.
  if (certificate?.fingerprint256 === undefined) return undefined;
  const isTrusted = socket.authorized;
  const subjectAltNames = readAltNames(certificate.subjectaltname ?? "");
  return {
    isTrusted,
    subject: subjectOf(certificate.subject),
    subjectAltNames,
    fingerprint256: certificate.fingerprint256,
    spiffeId: isTrusted ? spiffeIdOf(subjectAltNames) : undefined,
  };
}

function subjectOf(subject: object): PeerCertificate["subject"] {
  return Object.fromEntries(Object.entries(subject));
}

/** A certificate with a SPIFFE ID has exactly one URI (SPIFFE X.509-SVID, 2). */
function spiffeIdOf(names: readonly string[]): string | undefined {
  const uris = names.filter((name) => name.startsWith("URI:"));
  const [only] = uris;
  if (uris.length !== 1 || !only?.startsWith("URI:spiffe://")) return undefined;
  return only.slice("URI:".length);
}

/**
 * Reads the alternative names as OpenSSL lists them for Node: `DNS:a.example, URI:spiffe://a.example/b`. Node writes a
 * value as a JSON string if it has characters that could be taken for another name.
 */
export function readAltNames(listed: string): string[] {
  const name = /([^:,]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/gy;
  return [...listed.matchAll(name)].map(([, kind, value = ""]) => `${kind}:${unquoted(value)}`);
}

function unquoted(value: string): string {
  return value.startsWith('"') ? (JSON.parse(value) as string) : value;
}
