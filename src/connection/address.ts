import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { wrong } from "../options.ts";

/** An address to which a transport connects. */
export interface Target {
  /** The name in errors: "127.0.0.1:50051", "unix:/run/hawser.sock". */
  readonly name: string;
  readonly tls: boolean;
  /** As node:net takes it. */
  readonly connect: { host: string; port: number } | { path: string };
  /** The :authority of requests. */
  readonly authority: string;
  /** The name that a certificate must have. */
  readonly hostname: string;
  /** The part of a path before /package.Service/Method; mostly empty. */
  readonly pathPrefix: string;
}

/** The forms of a baseUrl on Node. */
const NODE_FORMS = "http://host:port, https://host:port or unix:/path";

/** The forms of a baseUrl in a browser. */
export const WEB_FORMS = "http://host:port or https://host:port";

/**
 * Reads the baseUrls of one transport. Throws INVALID_ARGUMENT if one of them is
 * not valid, if the list is empty, and if they differ in more than host and
 * port.
 *
 * @param forms those that are allowed; default: all
 */
export function parseTargets(
  baseUrl: string | readonly string[],
  forms = NODE_FORMS,
): [Target, ...Target[]] {
  const [first, ...others] = [baseUrl].flat().map((one) => parseTarget(one, forms));
  if (first === undefined) {
    throw failure(Code.InvalidArgument, "baseUrl is an empty list: name one address, or several");
  }
  const odd = others.find(
    ({ tls, pathPrefix }) => tls !== first.tls || pathPrefix !== first.pathPrefix,
  );
  if (odd === undefined) return [first, ...others];
  throw failure(
    Code.InvalidArgument,
    `the baseUrls of ${first.name} and ${odd.name} differ in scheme or path: give all of them https, or none, and one path`,
  );
}

/** Reads a baseUrl. Throws INVALID_ARGUMENT, with an example, if it is not valid. */
function parseTarget(baseUrl: string, forms: string): Target {
  const invalid = () => wrong({ of: "createTransport", option: "baseUrl" }, baseUrl, forms);
  if (typeof baseUrl !== "string") throw invalid();
  if (baseUrl.startsWith("unix:") && forms === NODE_FORMS) {
    const path = baseUrl.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "") throw invalid();
    const name = `unix:${path}`;
    return {
      name,
      tls: false,
      connect: { path },
      authority: "localhost",
      hostname: "localhost",
      pathPrefix: "",
    };
  }
  let url: URL;
  try {
    url = new URL(baseUrl);
  } catch {
    throw invalid();
  }
  const tls = url.protocol === "https:";
  if ((!tls && url.protocol !== "http:") || url.hostname === "") throw invalid();
  const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? (tls ? 443 : 80) : Number(url.port);
  return {
    name: `${url.hostname}:${port}`,
    tls,
    connect: { host: hostname, port },
    authority: url.host,
    hostname,
    pathPrefix: url.pathname.replace(/\/+$/, ""),
  };
}
