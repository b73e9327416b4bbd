import { X509Certificate } from "node:crypto";
import * as tls from "node:tls";
import { Code, type ConnectError } from "@connectrpc/connect";
import { failure, systemReason } from "../failure.ts";
import {
  type Check,
  type Checks,
  listOf,
  type OptionPlace,
  text,
  trueOrFalse,
  wrong,
} from "../options.ts";

/** TLS for a client: PEM texts, as node:tls takes them. */
export interface ClientTls {
  /** The CAs that may have signed the server's certificate. Default: those that Node trusts. */
  ca?: string | Buffer | (string | Buffer)[];
  /** The client's own certificate and key, for a server that asks for them (mTLS). */
  cert?: string | Buffer;
  key?: string | Buffer;
  /** The name that the server's certificate must have. Default: the host of baseUrl. */
  serverName?: string;
  /** `false` accepts any certificate: for experiments only. Default: true. */
  rejectUnauthorized?: boolean;
}

/** The PEM texts of a client or of a server. */
export type PemTexts = Pick<ClientTls, "ca" | "cert" | "key">;

/** The TLS settings for the connections of a transport. */
export interface ClientTlsSettings {
  readonly secureContext: tls.SecureContext | undefined;
  readonly serverName: string | undefined;
  readonly rejectUnauthorized: boolean;
  /** Whether the client has a certificate. */
  readonly hasCertificate: boolean;
}

const certificate = pem("certificate", /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/);
const privateKey = pem("private key", /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/);

/** The checks of the options that are PEM texts. */
export const pemChecks = {
  ca: (value, place) => (Array.isArray(value) ? listOf(certificate) : certificate)(value, place),
  cert: certificate,
  key: privateKey,
} satisfies Checks<PemTexts>;

export const clientTlsChecks = {
  ...pemChecks,
  serverName: text,
  rejectUnauthorized: trueOrFalse,
} satisfies Checks<ClientTls>;

/** Reads the TLS options of a transport. Throws INVALID_ARGUMENT if certificate and key do not belong together. */
export function clientTls(of: string, options: ClientTls = {}): ClientTlsSettings {
  const { ca, cert, key, serverName, rejectUnauthorized = true } = options;
  const hasTexts = ca !== undefined || cert !== undefined || key !== undefined;
  return {
    // Read only once, for all connections.
    secureContext: hasTexts
      ? orExplain(of, { ca, cert, key }, () => tls.createSecureContext({ ca, cert, key }))
      : undefined,
    serverName,
    rejectUnauthorized,
    hasCertificate: cert !== undefined,
  };
}

/** Returns what `make` makes of PEM texts by node:tls. Throws INVALID_ARGUMENT, which says which text is at fault. */
export function orExplain<T>(of: string, texts: PemTexts, make: () => T): T {
  const { ca, cert, key } = texts;
  if ((cert === undefined) !== (key === undefined)) {
    const [there, missing] = cert === undefined ? ["key", "cert"] : ["cert", "key"];
    const what = `tls.${there} is given without tls.${missing}: give both, or none`;
    throw failure(Code.InvalidArgument, `${of}: ${what}`);
  }
  try {
    // node:tls silently leaves out a CA that it cannot read.
    for (const text of [ca ?? []].flat()) new X509Certificate(text);
    return make();
  } catch (error) {
    throw explain(of, texts, error);
  }
}

function explain(of: string, { ca, cert, key }: PemTexts, error: unknown): ConnectError {
  const parts = {
    "tls.ca": () => [ca ?? []].flat().map((text) => new X509Certificate(text)),
    "tls.cert": () => tls.createSecureContext({ cert }),
    "tls.key": () => tls.createSecureContext({ key }),
  };
  for (const [name, read] of Object.entries(parts)) {
    try {
      read();
    } catch (cause) {
      const what = `${name} is damaged: node:tls cannot read it (${systemReason(cause)})`;
      return failure(Code.InvalidArgument, `${of}: ${what}`, cause);
    }
  }
  const what =
    systemReason(error) === "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
      ? "tls.key does not belong to tls.cert: give the key that the certificate was made for"
      : `node:tls does not take these options of tls (${systemReason(error)})`;
  return failure(Code.InvalidArgument, `${of}: ${what}`, error);
}

/** A PEM text with a part of this kind in it. Errors never show the text: it may be a key. */
function pem(kind: string, begin: RegExp): Check {
  return (value, place) => {
    if (typeof value !== "string" && !(value instanceof Uint8Array)) {
      throw wrong(place, value, "a PEM text, as a string or Buffer,");
    }
    const content = typeof value === "string" ? value : Buffer.from(value).toString("latin1");
    if (/-----BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(content)) {
      throw notPem(place, "is encrypted: give it decrypted (openssl pkey -in FILE)");
    }
    if (begin.test(content)) return;
    const [, other] = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(content) ?? [];
    if (other === undefined) throw notPem(place, "is not a PEM text; is it a path?");
    throw notPem(place, `has no ${kind} in it, but ${other}: are two files mixed up?`);
  };
}

function notPem({ of, option }: OptionPlace, what: string): ConnectError {
  return failure(Code.InvalidArgument, `${of}: ${option} ${what}`);
}
