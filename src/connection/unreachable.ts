import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import type { Target } from "./address.ts";

/** The phase in which a connection failed. */
export type ConnectPhase = "the connection" | "the TLS handshake" | "the server's HTTP/2 SETTINGS";

/** An attempt to connect that failed. */
export interface FailedConnect {
  readonly target: Target;
  readonly phase: ConnectPhase;
  /** The error's code in Node, or a text. */
  readonly reason: string;
  readonly cause: unknown;
  /** Whether the client has a certificate to show. */
  readonly hasCertificate: boolean;
}

/** The reason if the peer closed the connection without giving one. */
export const SERVER_CLOSED = "the server closed the connection";

/** The beginning of the reason if the peer answers with something else than HTTP/2. */
export const NOT_HTTP2 = "it does not speak HTTP/2";

const CLOSED = new RegExp(`^(?:ECONNRESET|EPIPE|ECONNABORTED|${SERVER_CLOSED})$`);

const IS_SERVER = "is a gRPC server running there?";
const SHOW_CERTIFICATE =
  "does it ask for a client certificate? Give one with tls.cert and tls.key; or is it not a gRPC server?";
const OTHER_CERTIFICATE =
  "does it trust the CA of the client's certificate (tls.cert)? Or is it not a gRPC server?";

/** The error of calls whose server cannot be reached: UNAVAILABLE with the address, the reason and the remedy. */
export function unreachable(failed: FailedConnect): ConnectError {
  const { target, reason, cause } = failed;
  const what = `cannot reach ${target.name} (${reason}): ${remedyOf(failed)}`;
  return failure(Code.Unavailable, what, cause);
}

function remedyOf(failed: FailedConnect): string {
  if (failed.target.tls) return tlsRemedyOf(failed);
  const { target, phase, reason } = failed;
  const greeted = phase === "the server's HTTP/2 SETTINGS";
  // A server that expects TLS closes, or answers with something that is not HTTP/2.
  const mayExpectTls =
    "port" in target.connect && (CLOSED.test(reason) || reason.startsWith(NOT_HTTP2));
  return greeted && mayExpectTls
    ? "does it speak TLS? Then use https://; or is it not a gRPC server?"
    : IS_SERVER;
}

function tlsRemedyOf({ phase, reason, hasCertificate }: FailedConnect): string {
  // TLS alerts are the server's objections to the client (RFC 8446, 6).
  if (/ALERT_NO_APPLICATION_PROTOCOL/.test(reason)) return IS_SERVER;
  if (/ALERT_.*(?:CERT|CA$)|ALERT_HANDSHAKE_FAILURE/.test(reason)) {
    return hasCertificate ? OTHER_CERTIFICATE : SHOW_CERTIFICATE;
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(reason)) {
    return "does it speak cleartext? Then use http://; or is it not a gRPC server?";
  }
  if (/ALTNAME/.test(reason)) {
    return "its certificate is for another name; tls.serverName says which one is expected";
  }
  if (/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/.test(reason)) {
    return "its certificate is not valid now: renew it, or set the clock";
  }
  if (/CERT|VERIFY|SIGNATURE/.test(reason)) {
    return "its certificate is not trusted; give the CA that signed it as tls.ca";
  }
  if (phase === "the TLS handshake" && CLOSED.test(reason)) {
    return "does it speak TLS? For cleartext use http://; or is it not a gRPC server?";
  }
  // With TLS 1.3 a server refuses the client's certificate after the client's handshake.
  if (phase === "the server's HTTP/2 SETTINGS" && CLOSED.test(reason)) {
    return hasCertificate ? OTHER_CERTIFICATE : SHOW_CERTIFICATE;
  }
  return IS_SERVER;
}
