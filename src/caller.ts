/** The caller of a call, as a server sees it. */

/** The client of a call, as its connection shows it. */
export interface Peer {
  /**
   * Its IP address. If the connection comes from one of `trustedProxies`: the address that the proxy names, if it names
   * one. `undefined` on a Unix socket.
   */
  readonly address: string | undefined;
  /** Whether the connection has TLS. */
  readonly isEncrypted: boolean;
  /** Its certificate, if it has shown one. Never that of a proxy. */
  readonly certificate: PeerCertificate | undefined;
  /** The proxy of `trustedProxies` that the connection comes from, if it comes from one. */
  readonly proxy: Peer | undefined;
}

/** The certificate of a client, which has proven that it has the key. */
export interface PeerCertificate {
  /**
   * Whether a CA of `tls.ca` has signed it. If not (`requestClientCertificate` without `ca`), only the fingerprint says
   * anything: the client has written the names itself.
   */
  readonly isTrusted: boolean;
  /** The attributes of its subject, such as `CN` and `O`. An attribute that stands there several times has an array. */
  readonly subject: Readonly<Record<string, string | readonly string[]>>;
  /** The alternative names of its subject, each with its kind: `DNS:a.example`, `URI:spiffe://a.example/b`. */
  readonly subjectAltNames: readonly string[];
  /** The SHA-256 of the certificate: `AB:CD:…`. */
  readonly fingerprint256: string;
  /** The SPIFFE ID of a trusted certificate that has one: its only URI, which begins with `spiffe://`. */
  readonly spiffeId: string | undefined;
}

/** The caller of a call: its identity, and the client that it uses. */
export interface Caller {
  /** What `authenticate` has returned. `undefined` if the server does not authenticate, or not for this method. */
  readonly identity: string | undefined;
  readonly peer: Peer;
}

/** An IPv4 client of a socket that takes IPv6 too has the address `::ffff:192.0.2.1`; it is the same client. */
export function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
}
